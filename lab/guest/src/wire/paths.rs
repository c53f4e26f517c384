//! The paths and names that the image's builder, the second disk's and the guest must spell alike.

/// Where the second disk is mounted in the guest.
pub const PAYLOAD: &str = "/opt/lab";
/// The programs on the second disk; bound over `/usr/local/bin`.
pub const PAYLOAD_BIN: &str = "bin";
/// The folder `lab/cases` on the second disk; bound over [`CASES`].
pub const PAYLOAD_CASES: &str = "cases";
/// A script from elsewhere, on the second disk.
pub const PAYLOAD_SCRIPT: &str = "script";
/// The wish, on the second disk.
pub const PAYLOAD_SPEC: &str = "spec.json";
/// The cases, in the guest.
pub const CASES: &str = "/lab";
/// What a script leaves here is brought out.
pub const OUT: &str = "/out";
/// The name of the virtio-serial port that carries the frames.
pub const PORT_NAME: &str = "bowline.lab";
