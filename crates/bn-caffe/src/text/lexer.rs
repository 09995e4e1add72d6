//! Splits the text into tokens; spaces and comments are passed over.

use super::document::Failure;

/// Kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword or an enumeration's value.
    Ident,
    /// An integer or float without its sign.
    Number,
    /// A quoted string, quotes included.
    String,
    /// One character.
    Symbol(u8),
    /// The end of the text.
    End,
}

/// A token and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexeme {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
    }

    fn skip_trivia(&mut self) {
        loop {
            self.skip_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c));
            if self.peek() != Some(b'#') {
                return;
            }
            self.skip_while(|b| b != b'\n');
        }
    }

    /// Reads the next token.
    pub(super) fn next(&mut self) -> Result<Lexeme, Failure> {
        self.skip_trivia();
        let start = self.at;
        let token = match self.peek() {
            None => Token::End,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => {
                self.skip_while(is_word);
                Token::Ident
            }
            Some(b'0'..=b'9') => self.number()?,
            Some(b'.') if self.text.get(start + 1).is_some_and(u8::is_ascii_digit) => {
                self.number()?
            }
            Some(quote @ (b'"' | b'\'')) => self.string(quote)?,
            Some(symbol) => {
                self.at += 1;
                Token::Symbol(symbol)
            }
        };
        Ok(Lexeme { token, start, end: self.at })
    }

    fn number(&mut self) -> Result<Token, Failure> {
        let start = self.at;
        let wrong = |expected| Err(Failure::new(start, expected));
        let radix_mark = self.text.get(start + 1).copied();
        if self.peek() == Some(b'0') && matches!(radix_mark, Some(b'x' | b'X')) {
            self.at += 2;
            self.skip_while(|b| b.is_ascii_hexdigit());
            if self.at == start + 2 {
                return wrong("hexadecimal digits after \"0x\"");
            }
        } else {
            self.skip_while(|b| b.is_ascii_digit());
            let digits = &self.text[start..self.at];
            let mut float = false;
            if self.peek() == Some(b'.') {
                float = true;
                self.at += 1;
                self.skip_while(|b| b.is_ascii_digit());
            }
            if matches!(self.peek(), Some(b'e' | b'E')) {
                float = true;
                self.at += 1;
                if matches!(self.peek(), Some(b'+' | b'-')) {
                    self.at += 1;
                }
                let exponent = self.at;
                self.skip_while(|b| b.is_ascii_digit());
                if self.at == exponent {
                    return wrong("digits after the exponent's \"e\"");
                }
            }
            if matches!(self.peek(), Some(b'f' | b'F')) {
                float = true;
                self.at += 1;
            }
            if !float && digits.len() > 1 && digits[0] == b'0' && !digits.iter().all(is_octal) {
                return wrong("octal digits in a number that starts with 0");
            }
        }
        if self.peek().is_some_and(|b| is_word(b) || b == b'.') {
            return wrong("a number followed by a space or a separator");
        }
        Ok(Token::Number)
    }

    fn string(&mut self, quote: u8) -> Result<Token, Failure> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None | Some(b'\n') => {
                    return Err(Failure::new(start, "a closing quote on the same line"));
                }
                Some(b'\\') => {
                    self.at += 1;
                    if !matches!(self.peek(), None | Some(b'\n')) {
                        self.at += 1;
                    }
                }
                Some(b) => {
                    self.at += 1;
                    if b == quote {
                        return Ok(Token::String);
                    }
                }
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_octal(byte: &u8) -> bool {
    (b'0'..=b'7').contains(byte)
}
