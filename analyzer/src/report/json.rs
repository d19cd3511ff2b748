//! JSON: the document as it is, indented. What is an array inside an array, or an object inside of two, such as a
//! point of a curve or a frame of a stack, stays on one line: of a document of thousands of stacks a third would be
//! blanks.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::document::Report;

/// Writes the report with a final newline.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Points::default());
    report.serialize(&mut serializer).map_err(io::Error::from)?;
    writeln!(out)
}

/// Pretty, but for what is deep inside: `[12.5, 4096]`, `{"function": "main", "line": 3}`.
#[derive(Default)]
struct Points {
    pretty: PrettyFormatter<'static>,
    /// For each open container whether it is an array.
    open: Vec<bool>,
    /// How many of the open ones are written on one line.
    inline: usize,
}

impl Formatter for Points {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let nested = self.inline > 0 || self.open.last() == Some(&true);
        self.open.push(true);
        if nested {
            self.inline += 1;
            return writer.write_all(b"[");
        }
        self.pretty.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.pop();
        if self.inline > 0 {
            self.inline -= 1;
            return writer.write_all(b"]");
        }
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if self.inline > 0 {
            return if first {
                Ok(())
            } else {
                writer.write_all(b", ")
            };
        }
        self.pretty.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let arrays = self.open.iter().filter(|is_array| **is_array).count();
        let is_deep = self.inline > 0 || arrays > 1;
        self.open.push(false);
        if is_deep {
            self.inline += 1;
            return writer.write_all(b"{");
        }
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.pop();
        if self.inline > 0 {
            self.inline -= 1;
            return writer.write_all(b"}");
        }
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if self.inline > 0 {
            return match first {
                true => Ok(()),
                false => writer.write_all(b", "),
            };
        }
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inline > 0 {
            return writer.write_all(b": ");
        }
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inline > 0 {
            return Ok(());
        }
        self.pretty.end_object_value(writer)
    }
}
