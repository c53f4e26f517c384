//! Tests of the rules: each is a topology, what was tried, and what must follow. A test names in its name or its
//! doc comment the requirements it proves.

mod attach;
mod build;
mod detach;
mod flush;
mod identity;
mod paths;
mod properties;
mod single;
