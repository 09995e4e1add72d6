//! The header of .npy: a Python dictionary of three keys, which is all that is parsed of Python.
//!
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`
//!
//! Read here and not by ndarray-npy: that has a whole parser of Python literals, recursive on hostile
//! input, behind it, takes the memory a header promises before it looks at the file's size, and
//! knows no f16.

use crate::tensor::TensorError;

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The element type, as `<f4`.
    pub(super) descr: String,
    /// Whether the first index runs fastest.
    pub(super) fortran_order: bool,
    /// The dimensions.
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Parses the dictionary and the padding behind it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, TensorError> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(malformed("it is not text"));
        };
        let mut scanner = Scanner { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        scanner.expect('{', "a dictionary")?;
        while !scanner.eat('}') {
            let key = scanner.string()?;
            scanner.expect(':', "a colon after a key")?;
            let repeated = match key {
                "descr" => descr.replace(scanner.descr()?.to_owned()).is_some(),
                "fortran_order" => fortran_order.replace(scanner.boolean()?).is_some(),
                "shape" => shape.replace(scanner.shape()?).is_some(),
                _ => return Err(malformed(&format!("unknown key {}", quote(key)))),
            };
            if repeated {
                return Err(malformed(&format!("the key {key} is there twice")));
            }
            if !scanner.eat(',') {
                scanner.expect('}', "a comma or the end of the dictionary")?;
                break;
            }
        }
        if !scanner.rest.trim_ascii().is_empty() {
            return Err(scanner.found("nothing after the dictionary"));
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => {
                Ok(Self { descr, fortran_order, shape })
            }
            _ => Err(malformed("expected the keys descr, fortran_order and shape")),
        }
    }

    /// The dictionary as text.
    pub(super) fn to_text(&self) -> String {
        let Self { descr, fortran_order, shape } = self;
        let order = if *fortran_order { "True" } else { "False" };
        let sizes: Vec<String> = shape.iter().map(|size| format!("{size}, ")).collect();
        // A tuple of one keeps its comma, others do not need theirs.
        let sizes = match sizes.len() {
            1 => sizes[0].trim_end().to_owned(),
            _ => sizes.concat().trim_end_matches(", ").to_owned(),
        };
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}")
    }
}

/// What is left of a header to parse.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn eat(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let Some(rest) = self.rest.strip_prefix(wanted) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, wanted: char, what: &str) -> Result<(), TensorError> {
        if self.eat(wanted) { Ok(()) } else { Err(self.found(what)) }
    }

    /// Everything up to the first character that is not of the kind.
    fn run(&mut self, kind: impl Fn(char) -> bool) -> &'a str {
        self.rest = self.rest.trim_ascii_start();
        let end = self.rest.find(|character| !kind(character)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn string(&mut self) -> Result<&'a str, TensorError> {
        for mark in ['\'', '"'] {
            if !self.eat(mark) {
                continue;
            }
            let Some((text, rest)) = self.rest.split_once(mark) else { break };
            self.rest = rest;
            return Ok(text);
        }
        Err(self.found("a quoted text"))
    }

    /// The element type; a list here describes the fields of structured elements.
    fn descr(&mut self) -> Result<&'a str, TensorError> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.starts_with(['[', '(', '{']) {
            let found = format!("{} (structured)", quote(self.rest));
            return Err(TensorError::ElementType { found, expected: super::EXPECTED });
        }
        self.string()
    }

    fn boolean(&mut self) -> Result<bool, TensorError> {
        let before = self.rest;
        match self.run(|character| character.is_ascii_alphabetic()) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => {
                self.rest = before;
                Err(self.found("fortran_order True or False"))
            }
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, TensorError> {
        const EXPECTED: &str = "a shape, a tuple of sizes";
        let mut shape = Vec::new();
        self.expect('(', EXPECTED)?;
        while !self.eat(')') {
            let before = self.rest;
            let Ok(size) = self.run(|character| character.is_ascii_digit()).parse() else {
                self.rest = before;
                return Err(self.found(EXPECTED));
            };
            shape.push(size);
            // Python 2 wrote its long integers so.
            self.eat('L');
            if !self.eat(',') {
                self.expect(')', EXPECTED)?;
                break;
            }
        }
        Ok(shape)
    }

    fn found(&self, expected: &str) -> TensorError {
        let rest = self.rest.trim_ascii();
        let found = if rest.is_empty() { "nothing more".to_owned() } else { quote(rest) };
        malformed(&format!("found {found}; expected {expected}"))
    }
}

fn malformed(message: &str) -> TensorError {
    TensorError::Header(message.to_owned())
}

/// The beginning of a text, in quotes and without anything that steers a terminal.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 30;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(descr: &str, fortran_order: bool, shape: &[usize]) -> Header {
        Header { descr: descr.into(), fortran_order, shape: shape.into() }
    }

    #[test]
    fn what_programs_write_is_read() {
        let cases = [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
                header("<f4", false, &[2, 3]),
            ),
            (
                "{\"shape\":(7,),\"fortran_order\":True,\"descr\":\">f8\"}",
                header(">f8", true, &[7]),
            ),
            (
                "{'descr': '<f2', 'fortran_order': False, 'shape': (3L, 4L)}\n",
                header("<f2", false, &[3, 4]),
            ),
            ("{'descr':'<f4','fortran_order':False,'shape':()}", header("<f4", false, &[])),
        ];
        for (text, expected) in cases {
            assert_eq!(Header::parse(text.as_bytes()).unwrap(), expected, "{text}");
            assert_eq!(Header::parse(expected.to_text().as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn text_is_written_as_numpy_writes_it() {
        let text = |shape: &[usize]| header("<f4", false, shape).to_text();
        assert_eq!(text(&[2, 3]), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert_eq!(text(&[7]), "{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }");
        assert_eq!(text(&[]), "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        let cases = [
            ("", "found nothing more; expected a dictionary"),
            ("[1]", "expected a dictionary"),
            ("{'descr': '<f4'}", "expected the keys descr, fortran_order and shape"),
            ("{'descr': '<f4', 'descr': '<f4'}", "the key descr is there twice"),
            ("{'colour': 3}", "unknown key \"colour\""),
            ("{'shape': (-1, 2)}", "expected a shape, a tuple of sizes"),
            ("{'shape': (1.5,)}", "expected a shape, a tuple of sizes"),
            ("{'shape': (99999999999999999999,)}", "expected a shape, a tuple of sizes"),
            ("{'shape': [2, 3]}", "expected a shape, a tuple of sizes"),
            ("{'shape': (2 3)}", "expected a shape, a tuple of sizes"),
            ("{'fortran_order': Maybe}", "expected fortran_order True or False"),
            ("{'descr': [('a', '<f4')]}", "(structured)"),
            ("{'descr': '<f4", "expected a quoted text"),
            ("{'descr' '<f4'}", "expected a colon"),
            ("{} x", "expected nothing after the dictionary"),
        ];
        for (text, reason) in cases {
            let error = Header::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(Header::parse(b"\xff{}").is_err());
    }
}
