//! `cargo xtask bench`.
/// x
#[derive(clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(
    w: &crate::workspace::Workspace,
    _: &Arguments,
) -> anyhow::Result<crate::Outcome> {
    println!("{}", w.target());
    Ok(crate::Outcome::Holds)
}
