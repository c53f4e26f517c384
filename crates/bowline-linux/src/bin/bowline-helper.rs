//! The helper that performs what can block in the kernel. See the library's module `helper`.

use std::process::ExitCode;

use bowline_linux::helper;

fn main() -> ExitCode {
    helper::main(helper::perform)
}
