//! Photos: any readable image file as 8-bit RGB. Grey is replicated, alpha dropped, as PIL's `convert("RGB")` does.
//!
//! Of 16-bit samples the high byte counts, as PIL reads 16-bit colour (PIL cuts 16-bit *grey* off at 255 instead, which shows white: not
//! followed). Floating-point samples are taken as 0 to 1.

use core::error::Error as _;
use std::io::{self, Cursor, Read};
use std::path::Path;

use ::image::metadata::Orientation as Turn;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::error::Error;
use crate::jpeg::{self, Jpeg};

/// Most pixels of an image; the header is asked before anything is decoded.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Most bytes that are read of an image file.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Most bytes that one decoded image may take, in the file's own sample type.
pub const MAX_DECODED_BYTES: u64 = 1 << 30;
/// The formats that are read, for messages.
pub const READABLE: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF and PNM";

/// Whether the rotation that a camera noted in the EXIF data is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// As every viewer shows it.
    #[default]
    Apply,
    /// As the samples lie in the file (timm's evaluation does this).
    Ignore,
}

/// An 8-bit RGB image; rows from top to bottom, three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Photo {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

impl Photo {
    /// A photo of pixels that are there already; an error if their number does not fit.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Photo, Error> {
        let expected = width.saturating_mul(height).saturating_mul(3);
        if pixels.len() != expected {
            return Err(Error::Shape {
                what: "pixels of a photo",
                expected,
                found: pixels.len(),
            });
        }
        Ok(Photo {
            width,
            height,
            pixels,
        })
    }

    /// Reads and decodes a file, or standard input for `-`.
    pub fn open(path: impl AsRef<Path>, orientation: Orientation) -> Result<Photo, Error> {
        let path = path.as_ref();
        let bytes = read_file(path)?;
        Photo::decode(path, &bytes, orientation)
    }

    /// Decodes a file's bytes; `name` is for messages alone.
    pub fn decode(
        name: impl AsRef<Path>,
        bytes: &[u8],
        orientation: Orientation,
    ) -> Result<Photo, Error> {
        let name = name.as_ref();
        if let Some(jpeg) = row_by_row(name, bytes)?
            && let Some(photo) = whole(&jpeg, orientation)
        {
            return Ok(photo);
        }
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| Error::from_read(name, e))?;
        let Some(format) = reader.format() else {
            return Err(Error::NotAnImage { path: name.into() });
        };
        let fault = |e: ImageError| fault(name, format, &e);
        let mut limits = limits();
        let mut reader = reader;
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(fault)?;
        let (width, height) = decoder.dimensions();
        if !(1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height))) {
            return Err(Error::ImageSize {
                path: name.into(),
                width,
                height,
            });
        }
        limits.reserve(decoder.total_bytes()).map_err(fault)?;
        decoder.set_limits(limits).map_err(fault)?;
        if !is_complete(format, bytes) {
            return Err(Error::TruncatedImage {
                path: name.into(),
                format: format_name(format),
            });
        }
        // A file whose EXIF data is broken is still a picture.
        let turn = match orientation {
            Orientation::Apply => decoder.orientation().ok(),
            Orientation::Ignore => None,
        };
        let image = DynamicImage::from_decoder(decoder).map_err(fault)?;
        Ok(Photo::turned(to_rgb8(image), turn))
    }

    /// The image as the camera was held.
    fn turned(image: RgbImage, turn: Option<Turn>) -> Photo {
        let mut image = DynamicImage::ImageRgb8(image);
        if let Some(turn) = turn {
            image.apply_orientation(turn);
        }
        let image = image.into_rgb8();
        Photo {
            width: image.width() as usize,
            height: image.height() as usize,
            pixels: image.into_raw(),
        }
    }

    /// The pixel in column `x` and row `y`, black outside.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        if x >= self.width {
            return [0; 3];
        }
        let at = (y * self.width + x) * 3;
        match self.pixels.get(at..at + 3) {
            Some(&[r, g, b]) => [r, g, b],
            _ => [0; 3],
        }
    }

    /// The photo as a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Cursor::new(Vec::new());
        self.as_rgb_image()?
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|e| Error::Encode {
                what: "a PNG",
                reason: e.to_string(),
            })?;
        Ok(bytes.into_inner())
    }

    /// The photo as a JPEG file; `quality` from 1 to 100.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut encoder =
            ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
        encoder
            .encode_image(&self.as_rgb_image()?)
            .map_err(|e| Error::Encode {
                what: "a JPEG",
                reason: e.to_string(),
            })?;
        Ok(bytes)
    }

    fn as_rgb_image(&self) -> Result<RgbImage, Error> {
        let expected = self.width.saturating_mul(self.height).saturating_mul(3);
        let (width, height) = (u32::try_from(self.width), u32::try_from(self.height));
        match (width, height) {
            (Ok(width), Ok(height)) => RgbImage::from_raw(width, height, self.pixels.clone()),
            _ => None,
        }
        .ok_or(Error::Shape {
            what: "pixels of a photo",
            expected,
            found: self.pixels.len(),
        })
    }
}

/// A JPEG file that can be decoded row by row, its size and its end checked; `None` for all that other decoders read.
pub(crate) fn row_by_row<'a>(name: &Path, bytes: &'a [u8]) -> Result<Option<Jpeg<'a>>, Error> {
    let Some(jpeg) = Jpeg::new(bytes) else {
        return Ok(None);
    };
    let (width, height) = jpeg.size();
    if width as u64 * height as u64 > MAX_PIXELS {
        return Err(Error::ImageSize {
            path: name.into(),
            width: width as u32,
            height: height as u32,
        });
    }
    if !jpeg::is_complete(bytes) {
        return Err(Error::TruncatedImage {
            path: name.into(),
            format: format_name(ImageFormat::Jpeg),
        });
    }
    Ok(Some(jpeg))
}

/// All of a JPEG file's pixels; `None` where its data are damaged, which another decoder may forgive.
fn whole(jpeg: &Jpeg<'_>, orientation: Orientation) -> Option<Photo> {
    let (width, height) = jpeg.size();
    let mut pixels = Vec::with_capacity(width * height * 3);
    jpeg.rows(0..height, 0..width, |_, row| {
        let (red, rest) = row.split_at(width);
        let (green, blue) = rest.split_at(width);
        let colours = red.iter().zip(green).zip(blue);
        pixels.extend(colours.flat_map(|((&r, &g), &b)| [r, g, b]));
    })?;
    let image = RgbImage::from_raw(width as u32, height as u32, pixels)?;
    let turn = match orientation {
        Orientation::Apply => jpeg.turn(),
        Orientation::Ignore => None,
    };
    Some(Photo::turned(image, turn))
}

/// All bytes of a file, or of standard input for `-`, up to [`MAX_FILE_BYTES`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| {
            // Room for all at once: a buffer that grows would hold a large file twice.
            let length = file.metadata().map_or(0, |m| m.len()).min(MAX_FILE_BYTES);
            bytes.reserve_exact(length as usize + 1);
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
        })
    };
    match read {
        Err(e) => Err(Error::from_read(path, e)),
        Ok(n) if n as u64 > MAX_FILE_BYTES => Err(Error::FileTooLarge { path: path.into() }),
        Ok(_) => Ok(bytes),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = None;
    limits.max_image_height = None;
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

/// A decoder's complaint as one of ours; a missing end is told apart from other damage.
fn fault(path: &Path, format: ImageFormat, error: &ImageError) -> Error {
    if matches!(error, ImageError::Limits(_)) {
        return Error::ImageMemory { path: path.into() };
    }
    let format = format_name(format);
    if ends_too_early(error) {
        return Error::TruncatedImage {
            path: path.into(),
            format,
        };
    }
    Error::DamagedImage {
        path: path.into(),
        format,
        reason: error.to_string(),
    }
}

/// Whether the file's end was reached too early: some decoders say so by an io error, some only in words.
fn ends_too_early(error: &ImageError) -> bool {
    if let ImageError::IoError(e) = error {
        return e.kind() == io::ErrorKind::UnexpectedEof;
    }
    let mut cause = error.source();
    while let Some(e) = cause {
        if let Some(e) = e.downcast_ref::<io::Error>()
            && e.kind() == io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = e.source();
    }
    let words = error.to_string().to_lowercase();
    [
        "unexpected eof",
        "unexpected end",
        "no more bytes",
        "exhausted data",
    ]
    .iter()
    .any(|w| words.contains(w))
}

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        // Recognised by its first bytes, but not among those that are read.
        _ => "unread kind of",
    }
}

/// 8-bit RGB; of 16-bit samples the high byte (a rounding division would differ from PIL).
fn to_rgb8(image: DynamicImage) -> RgbImage {
    let high = |v: u16| (v >> 8) as u8;
    let (width, height) = (image.width(), image.height());
    let samples: Option<Vec<u8>> = match &image {
        DynamicImage::ImageLuma16(i) => Some(i.pixels().flat_map(|p| [high(p.0[0]); 3]).collect()),
        DynamicImage::ImageLumaA16(i) => Some(i.pixels().flat_map(|p| [high(p.0[0]); 3]).collect()),
        DynamicImage::ImageRgb16(i) => Some(i.pixels().flat_map(|p| p.0.map(high)).collect()),
        DynamicImage::ImageRgba16(i) => Some(
            i.pixels()
                .flat_map(|p| [high(p.0[0]), high(p.0[1]), high(p.0[2])])
                .collect(),
        ),
        _ => None,
    };
    match samples.and_then(|s| RgbImage::from_raw(width, height, s)) {
        Some(rgb) => rgb,
        None => image.into_rgb8(),
    }
}

/// Whether all of the file is there, where its decoder does not say so itself.
fn is_complete(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg::is_complete(bytes),
        // RIFF: the length of what follows stands in bytes 4 to 7.
        ImageFormat::WebP => match bytes.get(4..8) {
            Some(&[a, b, c, d]) => {
                bytes.len() as u64 >= 8 + u64::from(u32::from_le_bytes([a, b, c, d]))
            }
            _ => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: usize, height: usize) -> Photo {
        let pixels = (0..width * height * 3)
            .map(|i| (i * 7 % 251) as u8)
            .collect();
        Photo::new(width, height, pixels).unwrap()
    }

    fn encoded(photo: &Photo, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        photo
            .as_rgb_image()
            .unwrap()
            .write_to(&mut bytes, format)
            .unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Result<Photo, Error> {
        Photo::decode("x", bytes, Orientation::Apply)
    }

    #[test]
    fn a_png_comes_back_bit_for_bit() {
        let photo = gradient(19, 13);
        assert_eq!(decode(&photo.to_png().unwrap()).unwrap(), photo);
    }

    #[test]
    fn every_cut_of_every_format_is_an_error_of_one_line_and_no_panic() {
        let photo = gradient(40, 30);
        use ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
        for format in [Jpeg, Png, Bmp, Tiff, WebP] {
            let whole = encoded(&photo, format);
            assert!(decode(&whole).is_ok(), "{format:?}");
            for cut in (0..whole.len() - 1).step_by(97) {
                // A TIFF keeps its directory at the end and a PNG its checksum: all cuts here lose pixels or both.
                match decode(&whole[..cut]) {
                    Err(e) => assert!(!e.to_string().contains('\n'), "{format:?} {cut}"),
                    Ok(_) => assert!(whole.len() - cut < 20, "{format:?} cut at {cut} passed"),
                }
            }
            let half = decode(&whole[..whole.len() * 3 / 4]).unwrap_err();
            if format != Tiff {
                assert!(matches!(half, Error::TruncatedImage { .. }), "{half}");
            }
        }
    }

    #[test]
    fn a_header_that_claims_60000_squared_is_refused_before_decoding() {
        let mut png = gradient(4, 4).to_png().unwrap();
        png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = decode(&png).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x: image of 60000 x 60000 pixels, allowed are 1 to 100 megapixels; scale it down first"
        );
        let mut jpeg = gradient(4, 4).to_jpeg(90).unwrap();
        let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 7].copy_from_slice(&60_000u16.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&60_000u16.to_be_bytes());
        assert!(matches!(
            decode(&jpeg).unwrap_err(),
            Error::ImageSize { width: 60_000, .. }
        ));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &b| {
            (0..8).fold(crc ^ u32::from(b), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 & (0u32.wrapping_sub(c & 1)))
            })
        })
    }

    #[test]
    fn exif_orientation_turns_the_photo_unless_ignored() {
        let jpeg = gradient(32, 16).to_jpeg(90).unwrap();
        // An APP1 segment with one directory entry: orientation 6, a quarter turn.
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0".to_vec();
        exif.extend([0; 4]);
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xFF, 0xE1]);
        turned.extend((exif.len() as u16 + 2).to_be_bytes());
        turned.extend(&exif);
        turned.extend(&jpeg[2..]);
        let applied = decode(&turned).unwrap();
        assert_eq!((applied.width, applied.height), (16, 32));
        let ignored = Photo::decode("x", &turned, Orientation::Ignore).unwrap();
        assert_eq!((ignored.width, ignored.height), (32, 16));
        // A quarter turn clockwise: the first row's left end becomes the top of the right column.
        assert_eq!(applied.pixel(15, 0), ignored.pixel(0, 0));
        assert_eq!(applied.pixel(15, 31), ignored.pixel(31, 0));
    }

    #[test]
    fn sixteen_bit_samples_give_their_high_byte() {
        let wide =
            ::image::ImageBuffer::<::image::Luma<u16>, _>::from_raw(2, 1, vec![0x12FF, 0xFE01])
                .unwrap();
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageLuma16(wide)
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        let photo = decode(&bytes.into_inner()).unwrap();
        assert_eq!(photo.pixels, [0x12, 0x12, 0x12, 0xFE, 0xFE, 0xFE]);
    }

    #[test]
    fn missing_folder_and_text_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Photo::open(dir.path().join("none.jpg"), Orientation::Apply).unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }), "{missing}");
        let folder = Photo::open(dir.path(), Orientation::Apply).unwrap_err();
        assert!(matches!(folder, Error::IsFolder { .. }), "{folder}");
        let text = decode(b"just some words").unwrap_err();
        assert_eq!(
            text.to_string(),
            "x: not an image; read are JPEG, PNG, WebP, BMP, GIF, TIFF and PNM"
        );
        assert!(decode(b"").is_err());
    }
}
