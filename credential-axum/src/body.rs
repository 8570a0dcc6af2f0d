//! Request bodies: of which type they are, how much of them is read, and what becomes of the rest.

mod content_type;
mod limit;
pub(crate) mod unread;

pub(crate) use self::{
    content_type::{content_type, is_form, is_type, is_utf8_form},
    limit::{BODY_LIMIT, BodyError, read_body},
};
