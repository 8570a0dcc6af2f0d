//! Rebuilds when a migration is added: `migrate!` reads the folder.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
