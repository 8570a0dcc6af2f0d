//! Request bodies: their type, how much of them is read, and what happens to the rest.

mod content_type;
mod limit;
pub(crate) mod unread;

pub(crate) use self::{
    content_type::{content_type, is_form, is_type, is_utf8_form},
    limit::{BODY_LIMIT, BodyError, read_body},
};
