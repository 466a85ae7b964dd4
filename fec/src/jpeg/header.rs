//! The segments of a JPEG file in front of its data (T.81 annex B).

use super::bits::Huffman;

/// What a scan needs.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// MCUs from one restart marker to the next; 0 for no markers.
    pub(super) restart: usize,
    /// What the camera noted, if it did.
    pub(super) exif: Option<&'a [u8]>,
    /// Entropy-coded data and what follows.
    pub(super) data: &'a [u8],
}

/// One component of the frame.
#[derive(Debug)]
pub(super) struct Component {
    /// Blocks of an MCU, across and down.
    pub(super) blocks: (usize, usize),
    /// Steps by place in the zigzag order.
    pub(super) steps: [u16; 64],
    pub(super) dc: Huffman,
    pub(super) ac: Huffman,
}

/// Tables as they were defined last.
#[derive(Default)]
struct Tables {
    steps: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
}

/// Reads up to the scan. `None`: damaged, or a kind that is left to the other decoder.
pub(super) fn read(bytes: &[u8]) -> Option<Header<'_>> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
    let mut tables = Tables::default();
    let mut frame: Option<(usize, usize, Vec<Frame>)> = None;
    let (mut restart, mut exif) = (0, None);
    loop {
        let (marker, body, after) = segment(rest)?;
        rest = after;
        match marker {
            0xDB => quantisation(body, &mut tables)?,
            0xC4 => huffman(body, &mut tables)?,
            // Baseline and extended: sequential, Huffman. All other frames are left to the other decoder.
            0xC0 | 0xC1 if frame.is_none() => frame = Some(read_frame(body)?),
            0xC0..=0xCF => return None,
            0xDD => restart = usize::from(u16::from_be_bytes(*body.first_chunk()?)),
            // Adobe's segment says which colours the components are: 1 is YCbCr.
            0xEE if body.starts_with(b"Adobe") && body.get(11) != Some(&1) => return None,
            0xDA => {
                let (width, height, frame) = frame?;
                let components = scan(body, &frame, &tables)?;
                return Some(Header {
                    width,
                    height,
                    components,
                    restart,
                    exif,
                    data: rest,
                });
            }
            0xE1 if exif.is_none() => exif = body.strip_prefix(b"Exif\0\0"),
            0xE0..=0xEF | 0xFE => {}
            _ => return None,
        }
    }
}

/// The next segment: its marker, its body and what follows it.
fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let bytes = bytes.strip_prefix(&[0xFF])?;
    let fill = bytes.iter().position(|&byte| byte != 0xFF)?;
    let (&marker, bytes) = bytes.get(fill..)?.split_first()?;
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let (segment, after) = bytes.split_at_checked(length)?;
    Some((marker, segment.get(2..)?, after))
}

fn quantisation(mut body: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((&head, rest)) = body.split_first() {
        let wide = head >> 4 == 1;
        let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 })?;
        let step = |i: usize| match wide {
            true => Some(u16::from_be_bytes([
                *values.get(2 * i)?,
                *values.get(2 * i + 1)?,
            ])),
            false => values.get(i).copied().map(u16::from),
        };
        let mut steps = [0; 64];
        for (i, to) in steps.iter_mut().enumerate() {
            *to = step(i)?;
        }
        *tables.steps.get_mut(usize::from(head & 15))? = Some(steps);
        body = rest;
    }
    Some(())
}

fn huffman(mut body: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((&head, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>()?;
        let total = counts.iter().map(|&n| usize::from(n)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let class = match head >> 4 {
            0 => &mut tables.dc,
            1 => &mut tables.ac,
            _ => return None,
        };
        *class.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, symbols)?);
        body = rest;
    }
    Some(())
}

/// A component as the frame's header has it.
struct Frame {
    id: u8,
    blocks: (usize, usize),
    quantisation: u8,
}

fn read_frame(body: &[u8]) -> Option<(usize, usize, Vec<Frame>)> {
    let &[precision, h1, h0, w1, w0, count] = body.first_chunk()?;
    let height = usize::from(u16::from_be_bytes([h1, h0]));
    let width = usize::from(u16::from_be_bytes([w1, w0]));
    let (parts, rest) = body.get(6..)?.as_chunks::<3>();
    let sound = precision == 8 && width > 0 && height > 0;
    if !sound || !rest.is_empty() || parts.len() != usize::from(count) {
        return None;
    }
    let component = |&[id, factors, quantisation]: &[u8; 3]| Frame {
        id,
        blocks: (usize::from(factors >> 4), usize::from(factors & 15)),
        quantisation,
    };
    let components: Vec<Frame> = parts.iter().map(component).collect();
    let blocks: Vec<_> = components.iter().map(|c| c.blocks).collect();
    let ids: Vec<_> = components.iter().map(|c| c.id).collect();
    let known = match blocks[..] {
        // The factors of a single component mean nothing: its blocks come one by one.
        [_] => true,
        [(1 | 2, 1) | (2, 2), (1, 1), (1, 1)] => ids != *b"RGB",
        _ => false,
    };
    known.then_some((width, height, components))
}

/// The components of the one scan that has them all.
fn scan(body: &[u8], frame: &[Frame], tables: &Tables) -> Option<Vec<Component>> {
    let (&count, rest) = body.split_first()?;
    let (parts, rest) = rest.as_chunks::<2>();
    // The last pair of the three bytes behind the components is none.
    let (parts, spectrum) = parts.split_at_checked(usize::from(count))?;
    if usize::from(count) != frame.len() || spectrum != [[0, 63]] || rest != [0] {
        return None;
    }
    let single = frame.len() == 1;
    let component = |(frame, &[id, chosen]): (&Frame, &[u8; 2])| {
        let table = |tables: &[Option<Huffman>; 4], i: u8| tables.get(usize::from(i))?.clone();
        (frame.id == id).then_some(())?;
        Some(Component {
            blocks: if single { (1, 1) } else { frame.blocks },
            steps: (*tables.steps.get(usize::from(frame.quantisation))?)?,
            dc: table(&tables.dc, chosen >> 4)?,
            ac: table(&tables.ac, chosen & 15)?,
        })
    };
    frame.iter().zip(parts).map(component).collect()
}
