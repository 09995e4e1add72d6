//! Builds the tree of positions, without recursion.

use super::document::{Failure, Kind, Node, Span};
use super::lexer::{Lexeme, Lexer, Token};
use crate::limits::MAX_DEPTH;

/// A message or list whose end has not been read.
struct Open {
    node: usize,
    close: u8,
    list: bool,
}

/// Parses the text into nodes in the order of the text; node 0 is the whole document.
///
/// The text is at most [`MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES) long, so positions fit 32
/// bits.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Node>, Failure> {
    let start = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut parser = Parser { text, lexer: Lexer::new(text, start), nodes: Vec::new() };
    let all = Span::new(start, text.len());
    parser.nodes.push(Node::new(Span::new(start, start), all, Kind::Message));
    parser.run()?;
    let count = parser.nodes.len() as u32;
    parser.nodes[0].next = count;
    parser.nodes[0].end = text.len() as u32;
    Ok(parser.nodes)
}

struct Parser<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    nodes: Vec<Node>,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let lexeme = self.lexer.next()?;
            let inside_list = open.last().is_some_and(|o| o.list);
            if let Some(top) = open.last()
                && lexeme.token == Token::Symbol(top.close)
            {
                let top = Open { ..*top };
                self.close(&top, lexeme.end)?;
                open.pop();
                let in_list = open.last().is_some_and(|o| o.list);
                self.separator(top.node, in_list)?;
                continue;
            }
            let opened = if inside_list {
                self.value(lexeme, Span::new(lexeme.start, lexeme.start), true)?
            } else {
                let name = match lexeme.token {
                    Token::Ident => Span::new(lexeme.start, lexeme.end),
                    Token::Symbol(b'[') => self.extension_name(lexeme)?,
                    Token::End if open.is_empty() => return Ok(()),
                    Token::End => {
                        let start = self.nodes[open[open.len() - 1].node].value.start as usize;
                        return Err(Failure::new(start, "a closing bracket for this message"));
                    }
                    _ => return Err(Failure::new(lexeme.start, "a field name")),
                };
                self.field(name)?
            };
            match opened {
                Some(o) if open.len() >= MAX_DEPTH => {
                    let start = self.nodes[o.node].value.start as usize;
                    return Err(Failure::new(start, "at most 100 levels of nesting"));
                }
                Some(o) => open.push(o),
                None => self.separator(self.nodes.len() - 1, inside_list)?,
            }
        }
    }

    fn close(&mut self, open: &Open, end: usize) -> Result<(), Failure> {
        let count = self.nodes.len() as u32;
        let node = &mut self.nodes[open.node];
        node.value.end = end as u32;
        node.next = count;
        Ok(())
    }

    /// Reads what follows a value: an optional separator in a message, a comma in a list.
    fn separator(&mut self, node: usize, in_list: bool) -> Result<(), Failure> {
        let mut ahead = self.lexer.clone();
        let lexeme = ahead.next()?;
        let mut end = self.nodes[node].value.end as usize;
        match lexeme.token {
            Token::Symbol(b',') if in_list => {
                self.lexer = ahead;
                end = lexeme.end;
                // A list does not end with a comma.
                let after = self.lexer.clone().next()?;
                if after.token == Token::Symbol(b']') {
                    return Err(Failure::new(after.start, "a value after the comma"));
                }
            }
            Token::Symbol(b']') if in_list => {}
            _ if in_list => return Err(Failure::new(lexeme.start, "\",\" or \"]\" in a list")),
            Token::Symbol(b',' | b';') => {
                self.lexer = ahead;
                end = lexeme.end;
            }
            _ => {}
        }
        self.nodes[node].end = end as u32;
        Ok(())
    }

    /// Reads `[some.extension]` or `[host/some.type]` as one name.
    fn extension_name(&mut self, open: Lexeme) -> Result<Span, Failure> {
        loop {
            let lexeme = self.lexer.next()?;
            match lexeme.token {
                Token::Symbol(b']') => return Ok(Span::new(open.start, lexeme.end)),
                Token::Ident | Token::Symbol(b'.' | b'/' | b'-') => {}
                _ => return Err(Failure::new(lexeme.start, "an extension's name and \"]\"")),
            }
        }
    }

    fn field(&mut self, name: Span) -> Result<Option<Open>, Failure> {
        let lexeme = self.lexer.next()?;
        match lexeme.token {
            Token::Symbol(b':') => {
                let lexeme = self.lexer.next()?;
                self.value(lexeme, name, false)
            }
            Token::Symbol(b'{' | b'<') => self.value(lexeme, name, false),
            _ => Err(Failure::new(lexeme.start, "\":\" or \"{\" after the field name")),
        }
    }

    /// Reads a scalar, or the opening bracket of a message or list.
    fn value(
        &mut self,
        lexeme: Lexeme,
        name: Span,
        in_list: bool,
    ) -> Result<Option<Open>, Failure> {
        let mut span = Span::new(lexeme.start, lexeme.end);
        let mut opened = None;
        let node = self.nodes.len();
        let kind = match lexeme.token {
            Token::Symbol(open @ (b'{' | b'<')) => {
                let close = if open == b'{' { b'}' } else { b'>' };
                opened = Some(Open { node, close, list: false });
                Kind::Message
            }
            Token::Symbol(b'[') if !in_list => {
                opened = Some(Open { node, close: b']', list: true });
                Kind::List
            }
            Token::Symbol(b'-') => {
                let next = self.lexer.next()?;
                span.end = next.end as u32;
                match next.token {
                    Token::Number => Kind::Number,
                    Token::Ident if is_special_float(&self.text[next.start..next.end]) => {
                        Kind::Number
                    }
                    _ => return Err(Failure::new(next.start, "a number after \"-\"")),
                }
            }
            Token::Number => Kind::Number,
            Token::Ident => Kind::Ident,
            Token::String => {
                // Strings that follow each other are one.
                loop {
                    let mut ahead = self.lexer.clone();
                    let next = ahead.next()?;
                    if next.token != Token::String {
                        break;
                    }
                    span.end = next.end as u32;
                    self.lexer = ahead;
                }
                Kind::String
            }
            _ => return Err(Failure::new(lexeme.start, "a value")),
        };
        let mut new = Node::new(name, span, kind);
        new.next = node as u32 + 1;
        self.nodes.push(new);
        Ok(opened)
    }
}

/// Whether a word names an infinity or a NaN, in any case.
pub(super) fn is_special_float(word: &[u8]) -> bool {
    [&b"inf"[..], b"infinity", b"nan"].iter().any(|w| word.eq_ignore_ascii_case(w))
}
