//! Images as they come, odd and hostile ones as well, made byte by byte where no encoder would.

use std::io::Cursor;

use fec_tests::container::crc32;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::*;

/// An image of no meaning; another for every `seed`.
pub(crate) fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let value = |c: u32| {
            ((x * (3 + c + seed % 7) + y * (5 + seed % 11) + c * 61 + seed * 37) % 256) as u8
        };
        Rgb([value(0), value(1), value(2)])
    })
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("an encoder");
    bytes.into_inner()
}

pub(crate) fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(width, height, seed).into(), ImageFormat::Png)
}

pub(crate) fn jpeg(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(width, height, seed).into(), ImageFormat::Jpeg)
}

/// A PNG whose header claims another size, with a checksum that fits.
pub(crate) fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(8, 8, 0);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&[&bytes[12..29]]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A JPEG whose frame header claims another size.
pub(crate) fn jpeg_that_claims(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg(8, 8, 0);
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]);
    let at = frame.expect("a baseline frame") + 5;
    bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// The JPEG with an EXIF segment that holds an orientation and nothing else.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

/// A baseline JPEG of one block in four components (CMYK), every sample 128: each block is two one-bit codes.
fn cmyk_jpeg() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, body: &[u8]| {
        bytes.extend([0xFF, marker]);
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend(body);
    };
    segment(0xEE, b"Adobe\0\x64\0\0\0\0\0");
    segment(0xDB, &[&[0][..], &[1; 64]].concat());
    let parts: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    segment(0xC0, &[&[8, 0, 8, 0, 8, 4][..], &parts].concat());
    for class in [0x00, 0x10] {
        // One code of one bit, for the symbol 0: no difference, end of block.
        segment(0xC4, &[&[class, 1][..], &[0; 15], &[0]].concat());
    }
    segment(0xDA, &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    bytes.extend([0x00, 0xFF, 0xD9]);
    bytes
}

/// A GIF of one colour after another.
fn animation() -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        let frame = |value: u8| {
            let image = image::RgbaImage::from_pixel(20, 12, image::Rgba([value, 0, 0, 255]));
            image::Frame::new(image)
        };
        encoder
            .encode_frames([10, 90, 200].map(frame))
            .expect("a GIF");
    }
    bytes
}

/// A PNG with a palette, one bit a pixel.
fn palette_png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], body: &[u8]| {
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(name);
        bytes.extend(body);
        bytes.extend(crc32(&[name, body]).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 8, 0, 0, 0, 1, 1, 3, 0, 0, 0]);
    chunk(b"PLTE", &[200, 10, 10, 10, 10, 200]);
    // One stored deflate block: the row's filter, and its eight pixels.
    let row = [0u8, 0b1010_1010];
    let adler = row.iter().fold((1u32, 0u32), |(a, b), &v| {
        let a = (a + u32::from(v)) % 65521;
        (a, (b + a) % 65521)
    });
    let sum = (adler.1 << 16 | adler.0).to_be_bytes();
    chunk(
        b"IDAT",
        &[&[0x78, 0x01, 0x01, 2, 0, 0xFD, 0xFF][..], &row, &sum].concat(),
    );
    chunk(b"IEND", &[]);
    bytes
}

/// Readable images of every kind, by file name.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    let deep =
        image::ImageBuffer::<Luma<u16>, _>::from_fn(30, 20, |x, y| Luma([(x * 2000 + y) as u16]));
    let grey = GrayImage::from_fn(30, 20, |x, y| Luma([(x * 8 + y) as u8]));
    let clear = image::RgbaImage::from_pixel(9, 9, image::Rgba([9, 80, 7, 0]));
    vec![
        ("dot.png", png(1, 1, 0)),
        ("tall.png", png(3, 2000, 1)),
        ("wide.jpg", jpeg(2000, 3, 2)),
        ("deep.png", encoded(&deep.into(), ImageFormat::Png)),
        ("grey.png", encoded(&grey.into(), ImageFormat::Png)),
        ("clear.png", encoded(&clear.into(), ImageFormat::Png)),
        ("palette.png", palette_png()),
        ("moving.gif", animation()),
        ("four.jpg", cmyk_jpeg()),
        (
            "plain.bmp",
            encoded(&picture(31, 17, 3).into(), ImageFormat::Bmp),
        ),
        (
            "plain.tiff",
            encoded(&picture(31, 17, 4).into(), ImageFormat::Tiff),
        ),
        (
            "plain.webp",
            encoded(&picture(31, 17, 5).into(), ImageFormat::WebP),
        ),
        (
            "plain.ppm",
            encoded(&picture(31, 17, 6).into(), ImageFormat::Pnm),
        ),
        // The extension says nothing, the first bytes do.
        ("liar.png", jpeg(33, 20, 7)),
        ("no extension", png(33, 20, 8)),
    ]
}

#[test]
fn every_kind_of_image_is_classified_and_mapped() {
    let dir = folder();
    for (name, bytes) in odd() {
        fs::write(dir.path().join(name), bytes).expect("a file");
        let classified = fec_in(&dir, &["--json", "classify", name]).expect(0).json();
        assert_eq!(
            classified["top"].as_array().map(Vec::len),
            Some(5),
            "{name}"
        );
        let mapped = fec_in(&dir, &["--json", "map", name, "-o", "out"])
            .expect(0)
            .json();
        let size = |path: &Value| {
            let path = path.as_str().expect("a path");
            image::image_dimensions(dir.path().join(path)).expect("a PNG")
        };
        let own = image::ImageReader::open(dir.path().join(name)).expect("a file");
        let own = own.with_guessed_format().expect("a file").into_dimensions();
        let level = &mapped["levels"][0];
        assert_eq!(size(&level["overlay"]), own.expect("a header"), "{name}");
        assert_eq!(size(&level["labels"]), size(&level["overlay"]), "{name}");
    }
}

#[test]
fn only_the_first_picture_of_an_animation_counts() {
    let dir = folder();
    let first = image::RgbaImage::from_pixel(20, 12, image::Rgba([10, 0, 0, 255]));
    fs::write(
        dir.path().join("still.gif"),
        encoded(&first.into(), ImageFormat::Gif),
    )
    .expect("a file");
    fs::write(dir.path().join("moving.gif"), animation()).expect("a file");
    let run = fec_in(
        &dir,
        &["--json", "classify", "--logits", "still.gif", "moving.gif"],
    )
    .expect(0);
    let found = objects(&run);
    assert_eq!(found[0]["logits"], found[1]["logits"]);
}

#[test]
fn the_cameras_orientation_is_applied_unless_ignored() {
    let dir = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).expect("a file");
    let plain = jpeg(48, 20, 3);
    write("plain.jpg", &plain);
    write("turned.jpg", &with_orientation(&plain, 6));
    let decoded =
        fec::Photo::decode("plain.jpg", &plain, fec::Orientation::Ignore).expect("a JPEG");
    let decoded = RgbImage::from_raw(48, 20, decoded.pixels).expect("48 x 20 pixels");
    let upright = DynamicImage::ImageRgb8(decoded).rotate90();
    write("upright.png", &encoded(&upright, ImageFormat::Png));
    let logits = |args: &[&str]| {
        let args = [&["--json", "classify", "--logits"], args].concat();
        fec_in(&dir, &args).expect(0).json()["logits"].clone()
    };
    assert_eq!(logits(&["turned.jpg"]), logits(&["upright.png"]));
    assert_eq!(
        logits(&["turned.jpg", "--ignore-orientation"]),
        logits(&["plain.jpg"])
    );
    assert_ne!(logits(&["turned.jpg"]), logits(&["plain.jpg"]));
    let size = |args: &[&str]| {
        fec_in(&dir, &[&["map", "turned.jpg", "-o", "out"], args].concat()).expect(0);
        image::image_dimensions(dir.path().join("out/turned.level3.png")).expect("a PNG")
    };
    assert_eq!(size(&[]), (20, 48));
    assert_eq!(size(&["--ignore-orientation"]), (48, 20));
}

#[test]
fn odd_names_are_names_like_any_other() {
    let dir = folder();
    let odd = [
        "with space.png",
        "two\nlines.png",
        "-dash.png",
        "a.b.c.png",
        "é😀.png",
        "'quote\".png",
    ];
    for name in odd {
        fs::write(dir.path().join(name), png(20, 20, 0)).expect("a file");
        let args = ["--json", "map", "-o", "out", "--", name];
        let mapped = fec_in(&dir, &args).expect(0).json();
        assert_eq!(mapped["file"], name);
        let page = mapped["page"].as_str().expect("a path");
        assert!(dir.path().join(page).exists(), "{page}");
        let stem = name.strip_suffix(".png").expect("the extension");
        assert_eq!(page, format!("out/{stem}.html"));
    }
    fs::write(dir.path().join("-dash.bad"), b"no image").expect("a file");
    fs::write(dir.path().join("bad\nname.png"), b"no image").expect("a file");
    let bad = fec_in(&dir, &["classify", "bad\nname.png"]);
    assert!(
        bad.error(1)
            .starts_with("bad\u{fffd}name.png: not an image"),
        "{bad}"
    );
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_read_and_shown_as_far_as_it_is() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder();
    let name = std::ffi::OsStr::from_bytes(b"x\xff.png");
    if fs::write(dir.path().join(name), png(20, 20, 0)).is_err() {
        fec_tests::golden::notice("SKIPPED: this file system takes no names that are no text");
        return;
    }
    let run = run(fec()
        .current_dir(dir.path())
        .args(["--json", "map", "-o", "out"])
        .arg(name));
    let mapped = run.expect(0).json();
    assert_eq!(mapped["file"], "x\u{fffd}.png");
    let page = mapped["page"].as_str().expect("a path");
    assert!(
        dir.path().join(page).exists(),
        "the JSON names a file that is there"
    );
}
