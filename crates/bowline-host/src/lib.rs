//! The seam.
#![forbid(unsafe_code)]
