//! `bowline inspect`.

use bowline::Error;

use crate::cli::InspectArgs;
use crate::{output, run};

/// Shows what is there.
pub fn main(args: &InspectArgs) -> Result<(), Error> {
    let inspection = run::look(|host| bowline::inspect(host, args.only.as_deref()))?;
    output::result(&inspection, output::inspection, args.json)
}
