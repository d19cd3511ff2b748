//! Owns finding the frame description of an address: `.eh_frame_hdr`, CIE and FDE.
//!
//! Never trusts a length or an offset: a bad one ends in `None`.

use super::reader::{OMIT, Reader, Tables};

/// A frame description (FDE) with what its common part (CIE) says.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// First address described.
    pub start: usize,
    /// One past the last address described.
    pub end: usize,
    /// What advances are counted in.
    pub code_align: u64,
    /// What offsets are counted in.
    pub data_align: i64,
    /// The column of the return address.
    pub return_column: u64,
    /// The frame that the kernel built for a signal: the caller's pc is exact.
    pub signal: bool,
    /// Encoding of addresses in instructions.
    pub encoding: u8,
    /// Instructions of the CIE.
    pub initial: Reader<'a>,
    /// Instructions of the FDE.
    pub instructions: Reader<'a>,
}

/// The frame description that covers `pc`, given the address of `.eh_frame_hdr`.
pub fn find<'a>(tables: &'a impl Tables, header: usize, pc: usize) -> Option<Frame<'a>> {
    let mut r = Reader::at(tables, header)?;
    let (version, frame_encoding) = (r.u8()?, r.u8()?);
    let (count_encoding, table_encoding) = (r.u8()?, r.u8()?);
    if version != 1 || frame_encoding == OMIT {
        return None;
    }
    let eh_frame = r.pointer(frame_encoding, header)?;
    let width = match table_encoding & 0x0f {
        0x03 | 0x0b => 4,
        0x04 | 0x0c | 0x00 => 8,
        _ => 0,
    };
    if count_encoding == OMIT || table_encoding == OMIT || width == 0 {
        return scan(tables, eh_frame, pc);
    }
    let count = r.value(count_encoding)? as usize;
    let table = r.take(count.checked_mul(2 * width)?)?;
    let entry = |index: usize| -> Option<Reader<'a>> {
        let mut row = table;
        row.take(index * 2 * width)?;
        Some(row)
    };
    // Binary search for the last entry that starts at or before pc.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(middle)?.pointer(table_encoding, header)? <= pc {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut row = entry(low.checked_sub(1)?)?;
    row.pointer(table_encoding, header)?;
    let frame = parse(tables, row.pointer(table_encoding, header)?)?;
    (frame.start <= pc && pc < frame.end).then_some(frame)
}

/// Looks through the whole of `.eh_frame`, for objects linked without a search table.
fn scan<'a>(tables: &'a impl Tables, eh_frame: usize, pc: usize) -> Option<Frame<'a>> {
    let mut at = eh_frame;
    loop {
        let (body, _) = entry(tables, at)?;
        let (start, len) = (body.addr, body.len());
        if !is_cie(body)?
            && let Some(frame) = parse(tables, at)
            && frame.start <= pc
            && pc < frame.end
        {
            return Some(frame);
        }
        at = start.checked_add(len)?;
    }
}

/// The body of the CIE or FDE at an address, and the width of its identifying field.
fn entry<'a>(tables: &'a impl Tables, at: usize) -> Option<(Reader<'a>, usize)> {
    let mut r = Reader::at(tables, at)?;
    let short = r.u32()?;
    let (len, id_width) = match short {
        0 => return None,
        u32::MAX => (r.u64()? as usize, 8),
        _ => (short as usize, 4),
    };
    Some((r.take(len)?, id_width))
}

fn is_cie(mut body: Reader) -> Option<bool> {
    Some(body.u32()? == 0)
}

/// Parses the FDE at an address together with its CIE.
pub fn parse<'a>(tables: &'a impl Tables, at: usize) -> Option<Frame<'a>> {
    let (mut fde, _) = entry(tables, at)?;
    let id_field = fde.addr;
    let back = fde.u32()? as usize;
    if back == 0 {
        return None;
    }
    let cie = Cie::parse(tables, id_field.checked_sub(back)?)?;
    let start = fde.pointer(cie.encoding, 0)?;
    let len = fde.value(cie.encoding)? as usize;
    if cie.augmented {
        let bytes = fde.uleb()? as usize;
        fde.take(bytes)?;
    }
    Some(Frame {
        start,
        end: start.checked_add(len)?,
        code_align: cie.code_align,
        data_align: cie.data_align,
        return_column: cie.return_column,
        signal: cie.signal,
        encoding: cie.encoding,
        initial: cie.instructions,
        instructions: fde,
    })
}

struct Cie<'a> {
    code_align: u64,
    data_align: i64,
    return_column: u64,
    encoding: u8,
    augmented: bool,
    signal: bool,
    instructions: Reader<'a>,
}

impl<'a> Cie<'a> {
    fn parse(tables: &'a impl Tables, at: usize) -> Option<Cie<'a>> {
        let (mut r, _) = entry(tables, at)?;
        if r.u32()? != 0 {
            return None;
        }
        let version = r.u8()?;
        let augmentation = r.string()?;
        match version {
            1 | 3 => {}
            4 => {
                let (address_bytes, segment_bytes) = (r.u8()?, r.u8()?);
                if (address_bytes, segment_bytes) != (8, 0) {
                    return None;
                }
            }
            _ => return None,
        }
        let code_align = r.uleb()?;
        let data_align = r.sleb()?;
        let return_column = if version == 1 {
            u64::from(r.u8()?)
        } else {
            r.uleb()?
        };
        let mut cie = Cie {
            code_align,
            data_align,
            return_column,
            encoding: 0,
            augmented: false,
            signal: false,
            instructions: r,
        };
        if let Some((b'z', letters)) = augmentation.split_first() {
            cie.augmented = true;
            let bytes = r.uleb()? as usize;
            let mut data = r.take(bytes)?;
            for letter in letters {
                match letter {
                    b'R' => cie.encoding = data.u8()?,
                    b'P' => {
                        let encoding = data.u8()?;
                        data.value(encoding)?;
                    }
                    b'L' => {
                        data.u8()?;
                    }
                    b'S' => cie.signal = true,
                    // The length lets us step over what we do not know.
                    _ => break,
                }
            }
        } else if !augmentation.is_empty() {
            return None;
        }
        cie.instructions = r;
        Some(cie)
    }
}
