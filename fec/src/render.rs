//! Pictures of a label map over its photo, at the photo's own size.
//!
//! A map's cells are larger than the photo's pixels. Repeating them would draw stairs; instead every cell spreads its label with a smooth
//! weight (a quadratic B-spline over 3 x 3 cells), each pixel takes the label of the greatest weight, and how far it leads the second tells
//! how near a boundary is: round outlines and smooth lines, without moving a label by more than half a cell.

use core::ops::Range;
use core::str::FromStr;

use crate::error::Error;
use crate::image::Photo;
use crate::labels::LabelMap;
use crate::palette::colour_regions;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Thin light lines with a dark rim over the slightly softened photo.
    #[default]
    Boundary,
    /// A translucent colour per region, neighbours apart, and faint lines.
    Fill,
    /// Each region in the mean colour of its pixels.
    Mean,
}

impl Style {
    /// Every name that [`FromStr`] knows.
    pub const NAMES: &'static [&'static str] = &["boundary", "fill", "mean"];
}

impl FromStr for Style {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "boundary" => Ok(Style::Boundary),
            "fill" => Ok(Style::Fill),
            "mean" => Ok(Style::Mean),
            _ => Err(Error::UnknownName {
                what: "style",
                found: name.into(),
                known: Style::NAMES,
            }),
        }
    }
}

/// Pieces of fewer cells are not drawn: outlined, they cover a textured photo with dots.
const SPECK: usize = 3;

/// The photo with the map drawn over it. The map may have any size; it is best given as cells, not scaled up. Pieces of one or two cells are
/// left out for looks (the label map that is saved keeps them).
///
/// # Errors
/// [`Error::Shape`] if the photo's or the map's values do not fit their sides, or one of them is empty.
pub fn overlay(photo: &Photo, map: &LabelMap, style: Style) -> Result<Photo, Error> {
    check(photo, map)?;
    let (compact, _) = map.without_specks(SPECK).compact();
    let regions = compact.regions(photo);
    let neighbours = compact.neighbours();
    let colours = match style {
        Style::Boundary => Vec::new(),
        Style::Fill => colour_regions(&regions, &neighbours),
        Style::Mean => regions.iter().map(|r| r.mean_colour).collect(),
    };
    let smooth = Smooth::new(&compact, photo);
    // Lines are as wide on a small picture as on a large one that is shown small, but never swallow a cell.
    let unit = (photo.width.min(photo.height) as f32 / 450.0).max(0.85);
    let most = smooth.cell * 0.4;
    let width = |px: f32| (px * unit / 2.0).min(most);
    let row_len = photo.width * 3;
    let mut out = photo.clone();
    for (y, row) in out.pixels.chunks_exact_mut(row_len).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let at = smooth.at(x, y);
            let line = |px: f32| (width(px) + 0.5 - at.distance).clamp(0.0, 1.0);
            let p = [pixel[0], pixel[1], pixel[2]].map(f32::from);
            // A pixel on the edge of two regions shows some of both.
            let region = |colours: &[[u8; 3]]| {
                let of = |label: u16| colours[usize::from(label)].map(f32::from);
                let share = (0.5 + at.distance).min(1.0);
                mix(of(at.second), of(at.best), share)
            };
            let drawn = match style {
                Style::Boundary => {
                    let rimmed = mix(soften(p), [16.0, 18.0, 26.0], 0.5 * line(3.0));
                    mix(rimmed, [255.0, 253.0, 246.0], 0.95 * line(1.1))
                }
                Style::Fill => {
                    let filled = mix(soften(p), region(&colours), 0.55);
                    mix(filled, [255.0; 3], 0.75 * line(0.8))
                }
                Style::Mean => region(&colours),
            };
            pixel.copy_from_slice(&drawn.map(|v| (v + 0.5) as u8));
        }
    }
    Ok(out)
}

/// The photo with colours of `strength` 0 to 1 over its regions, e.g. the evidence for a class; `tint` says colour and strength by label.
///
/// # Errors
/// As [`overlay`].
pub fn tinted(
    photo: &Photo,
    map: &LabelMap,
    tint: impl Fn(u16) -> ([u8; 3], f32),
) -> Result<Photo, Error> {
    check(photo, map)?;
    let smooth = Smooth::new(map, photo);
    let row_len = photo.width * 3;
    let mut out = photo.clone();
    for (y, row) in out.pixels.chunks_exact_mut(row_len).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let at = smooth.at(x, y);
            let p = soften([pixel[0], pixel[1], pixel[2]].map(f32::from));
            let of = |label| {
                let (colour, strength) = tint(label);
                mix(p, colour.map(f32::from), strength.clamp(0.0, 1.0))
            };
            let drawn = mix(of(at.second), of(at.best), (0.5 + at.distance).min(1.0));
            pixel.copy_from_slice(&drawn.map(|v| (v + 0.5) as u8));
        }
    }
    Ok(out)
}

fn check(photo: &Photo, map: &LabelMap) -> Result<(), Error> {
    let shape = |what, expected: usize, found: usize| {
        if expected == found && found > 0 {
            return Ok(());
        }
        Err(Error::Shape {
            what,
            expected: expected.max(1),
            found,
        })
    };
    let pixels = photo.width.saturating_mul(photo.height).saturating_mul(3);
    shape("pixels of a photo", pixels, photo.pixels.len())?;
    let labels = map.width.saturating_mul(map.height);
    shape("labels of a map", labels, map.labels.len())
}

fn mix(from: [f32; 3], to: [f32; 3], share: f32) -> [f32; 3] {
    core::array::from_fn(|c| from[c] + (to[c] - from[c]) * share)
}

/// A little less colour and contrast, so that what is drawn over it stands out.
fn soften(p: [f32; 3]) -> [f32; 3] {
    let grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    mix(mix(p, [grey; 3], 0.14), [140.0; 3], 0.07)
}

/// What a map says at one pixel of the photo.
#[derive(Debug, Clone, Copy)]
struct At {
    /// The label of the greatest weight.
    best: u16,
    /// The label that comes next; the best one where there is no other near.
    second: u16,
    /// To the boundary between them, in pixels of the photo; about, and only near it.
    distance: f32,
}

/// A label map, ready to be asked at the pixels of a photo.
struct Smooth<'a> {
    map: &'a LabelMap,
    /// Side of a cell in pixels of the photo.
    cell: f32,
    columns: Vec<Taps>,
    rows: Vec<Taps>,
    /// Cells of which all neighbours have the same label: nothing to compare there.
    inside: Vec<bool>,
}

/// The three cells around a pixel along one side, and their weights.
#[derive(Debug, Clone, Copy)]
struct Taps {
    cells: [usize; 3],
    weights: [f32; 3],
}

impl<'a> Smooth<'a> {
    fn new(map: &'a LabelMap, photo: &Photo) -> Smooth<'a> {
        let range = |i: usize, n: usize| -> Range<usize> { i.saturating_sub(1)..(i + 2).min(n) };
        let inside = (0..map.labels.len())
            .map(|at| {
                let (x, y) = (at % map.width, at / map.width);
                range(y, map.height)
                    .all(|j| range(x, map.width).all(|i| map.at(i, j) == map.labels[at]))
            })
            .collect();
        Smooth {
            map,
            cell: (photo.width as f32 / map.width as f32)
                .min(photo.height as f32 / map.height as f32),
            columns: taps(photo.width, map.width),
            rows: taps(photo.height, map.height),
            inside,
        }
    }

    fn at(&self, x: usize, y: usize) -> At {
        let (column, row) = (&self.columns[x], &self.rows[y]);
        let centre = row.cells[1] * self.map.width + column.cells[1];
        let label = self.map.labels[centre];
        if self.inside[centre] {
            return At {
                best: label,
                second: label,
                distance: f32::INFINITY,
            };
        }
        let mut found = [(label, 0.0f32); 9];
        let mut count = 1;
        for (&cell_y, &weight_y) in row.cells.iter().zip(&row.weights) {
            for (&cell_x, &weight_x) in column.cells.iter().zip(&column.weights) {
                let label = self.map.labels[cell_y * self.map.width + cell_x];
                let known = found[..count].iter().position(|f| f.0 == label);
                let slot = known.unwrap_or_else(|| {
                    found[count].0 = label;
                    count += 1;
                    count - 1
                });
                found[slot].1 += weight_y * weight_x;
            }
        }
        let (mut best, mut second) = ((label, -1.0), (label, -1.0));
        for &entry in &found[..count] {
            if entry.1 > best.1 {
                second = best;
                best = entry;
            } else if entry.1 > second.1 {
                second = entry;
            }
        }
        // The lead grows by 2 per cell where it leaves a straight boundary.
        At {
            best: best.0,
            second: second.0,
            distance: (best.1 - second.1) * 0.5 * self.cell,
        }
    }
}

/// Per pixel of a side the cells and weights of the quadratic B-spline around it; cells beyond the border repeat the last one.
fn taps(pixels: usize, cells: usize) -> Vec<Taps> {
    (0..pixels)
        .map(|i| {
            let at = (i as f32 + 0.5) * cells as f32 / pixels as f32;
            let centre = (at as usize).min(cells - 1);
            let t = (at - centre as f32 - 0.5).clamp(-0.5, 0.5);
            Taps {
                cells: [
                    centre.saturating_sub(1),
                    centre,
                    (centre + 1).min(cells - 1),
                ],
                weights: [
                    0.5 * (0.5 - t) * (0.5 - t),
                    0.75 - t * t,
                    0.5 * (0.5 + t) * (0.5 + t),
                ],
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize) -> Photo {
        Photo::new(width, height, vec![100; width * height * 3]).unwrap()
    }

    #[test]
    fn weights_of_every_pixel_add_up_to_one() {
        for taps in taps(37, 5).iter().chain(&taps(3, 9)) {
            assert!((taps.weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(taps.weights.iter().all(|&w| w >= 0.0));
        }
    }

    #[test]
    fn lines_run_along_boundaries_and_nowhere_else() {
        let map = LabelMap::new(1, 2, vec![7, 9]).unwrap();
        let out = overlay(&grey(40, 10), &map, Style::Boundary).unwrap();
        let bright = |x: usize| out.pixel(x, 5)[0];
        assert!(bright(19) > 150 && bright(20) > 150);
        let far = [0usize, 10, 30, 39].map(bright);
        assert!(far.iter().all(|&v| v == far[0] && v < 120), "{far:?}");
    }

    #[test]
    fn the_mean_style_paints_regions_in_their_mean() {
        let mut photo = grey(40, 10);
        for pixel in photo.pixels.chunks_exact_mut(3).step_by(2) {
            pixel.copy_from_slice(&[200, 100, 0]);
        }
        let map = LabelMap::new(1, 1, vec![3]).unwrap();
        let out = overlay(&photo, &map, Style::Mean).unwrap();
        assert!(out.pixels.chunks_exact(3).all(|p| p == [150, 100, 50]));
    }

    #[test]
    fn any_pair_of_sizes_is_drawn_and_empty_ones_are_refused() {
        for (w, h, mw, mh) in [
            (1, 1, 1, 1),
            (3, 2, 50, 70),
            (64, 3, 2, 9),
            (5, 200, 56, 56),
        ] {
            let labels = (0..mw * mh).map(|i| (i % 7) as u16).collect();
            let map = LabelMap::new(mh, mw, labels).unwrap();
            for name in Style::NAMES {
                let out = overlay(&grey(w, h), &map, name.parse().unwrap()).unwrap();
                assert_eq!(out.pixels.len(), w * h * 3);
            }
        }
        let map = LabelMap::new(0, 0, vec![]).unwrap();
        assert!(overlay(&grey(2, 2), &map, Style::Fill).is_err());
        let map = LabelMap::new(1, 1, vec![0]).unwrap();
        assert!(overlay(&grey(0, 2), &map, Style::Fill).is_err());
        assert!("glow".parse::<Style>().is_err());
    }
}
