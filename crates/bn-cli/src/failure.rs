//! How the program fails: in one line, with the exit status that scripts can tell apart.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was given is wrong: exit status 2.
    BadInput(String),
    /// What was given is right, but it could not be done: exit status 1.
    Failed(String),
    /// Nobody reads the output any more, as behind `| head`: no failure at all.
    ReaderGone,
}

impl Failure {
    /// Says it on stderr and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        use std::io::Write as _;

        let (message, status) = match self {
            Self::BadInput(message) => (message, 2),
            Self::Failed(message) => (message, 1),
            Self::ReaderGone => return ExitCode::SUCCESS,
        };
        // Where even stderr is gone the status has to do.
        let _ = writeln!(io::stderr(), "error: {}", one_line(message));
        ExitCode::from(status)
    }

    /// A failure to print.
    pub(crate) fn printing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Failed(format!("the report could not be printed: {error}"))
        }
    }
}

/// Found by a check, an error of the contract is bad input; the last few are failures of the machine.
impl From<bn_core::Error> for Failure {
    fn from(error: bn_core::Error) -> Self {
        use bn_core::Error;
        match error {
            Error::OneValuePerChannel { .. } => Self::BadInput(
                "one value per channel in training, whose variance is 0 whatever the value; expected \
                 at least 2, or --mode eval with running statistics"
                    .into(),
            ),
            Error::Unavailable { .. } | Error::OutOfMemory { .. } | Error::Device { .. } => {
                Self::Failed(error.to_string())
            }
            _ => Self::BadInput(error.to_string()),
        }
    }
}

impl From<bn::Error> for Failure {
    fn from(error: bn::Error) -> Self {
        match error {
            bn::Error::Core(error) => error.into(),
            bn::Error::UnknownBackend { .. } | bn::Error::Threads { .. } => {
                Self::BadInput(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What is wrong with Caffe's files and nets is bad input, unreadable files included; what a backend
/// says is told apart as above.
impl From<bn_caffe::Error> for Failure {
    fn from(error: bn_caffe::Error) -> Self {
        match error {
            bn_caffe::Error::Backend { layer, source } => match Self::from(source) {
                Self::BadInput(message) => Self::BadInput(format!("layer \"{layer}\": {message}")),
                Self::Failed(message) => Self::Failed(format!("layer \"{layer}\": {message}")),
                Self::ReaderGone => Self::ReaderGone,
            },
            other => Self::BadInput(other.to_string()),
        }
    }
}

/// The message without line breaks and without what would steer a terminal: file and tensor names
/// may contain anything.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_harmless_line() {
        assert_eq!(one_line("a\nb\u{1b}[2Jc é"), "a\\nb\\u{1b}[2Jc é");
    }
}
