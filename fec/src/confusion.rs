//! Confusion matrices: how often which class was taken for which, and as a picture.

use font8x8::{BASIC_FONTS, UnicodeFonts};

use crate::image::Photo;

/// Counts of (true class, most probable class).
#[derive(Clone, Debug)]
pub struct Confusion {
    classes: usize,
    /// [true class, predicted class]
    counts: Vec<u64>,
}

/// Side of a letter in pixels.
const LETTER: usize = 8;
/// Longest label that is written out, in letters.
const LABEL_LEN: usize = 18;
/// More classes than this have no room for labels.
const LABELLED: usize = 64;

impl Confusion {
    /// No counts yet.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// One more image. Classes that do not exist are not counted.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        if truth < self.classes && predicted < self.classes {
            self.counts[truth * self.classes + predicted] += 1;
        }
    }

    /// How many images were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of them were right.
    pub fn right(&self) -> u64 {
        (0..self.classes).map(|class| self.of(class).0).sum()
    }

    /// How many images of a class were right, and how many there were.
    pub fn of(&self, class: usize) -> (u64, u64) {
        let row = self
            .counts
            .chunks(self.classes.max(1))
            .nth(class)
            .unwrap_or_default();
        (row.get(class).copied().unwrap_or(0), row.iter().sum())
    }

    /// The matrix as a picture: a row per true class, a column per predicted one, the darker the larger its share of the row.
    /// Labels stand left and above, percentages in the cells, where there is room.
    pub fn picture(&self, labels: &[String]) -> Photo {
        let labelled = self.classes <= LABELLED;
        let cell = if labelled {
            4 * LETTER
        } else {
            (1024 / self.classes.max(1)).max(1)
        };
        let longest = labels
            .iter()
            .map(|label| label.chars().count().min(LABEL_LEN))
            .max()
            .unwrap_or(0);
        let margin = if labelled {
            (longest + 2) * LETTER
        } else {
            LETTER
        };
        let side = margin + self.classes * cell + LETTER;
        let mut canvas = Canvas(Photo {
            width: side,
            height: side,
            pixels: vec![255; side * side * 3],
        });
        for (truth, row) in self.counts.chunks(self.classes.max(1)).enumerate() {
            let total = row.iter().sum::<u64>();
            for (predicted, &count) in row.iter().enumerate() {
                let share = if total == 0 {
                    0.0
                } else {
                    count as f64 / total as f64
                };
                let (x, y) = (margin + predicted * cell, margin + truth * cell);
                let gap = usize::from(labelled);
                canvas.fill(x, y, cell - gap, shade(share, truth == predicted));
                if labelled && count > 0 {
                    let percent = format!("{:>3}", (share * 100.0).round());
                    let ink = if share > 0.45 { [255; 3] } else { [40; 3] };
                    canvas.text(
                        &percent,
                        x + LETTER / 2 - 1,
                        y + (cell - LETTER) / 2,
                        false,
                        ink,
                    );
                }
            }
        }
        if labelled {
            for (class, label) in labels.iter().take(self.classes).enumerate() {
                let label: String = label.chars().take(LABEL_LEN).collect();
                let along = margin + class * cell + (cell - LETTER) / 2;
                let start = margin - (label.chars().count() + 1) * LETTER;
                canvas.text(&label, start, along, false, [40; 3]);
                canvas.text(&label, along, margin - LETTER, true, [40; 3]);
            }
        }
        canvas.0
    }
}

/// White to blue for right answers, white to red for wrong ones.
fn shade(share: f64, right: bool) -> [u8; 3] {
    let full: [f64; 3] = if right {
        [24.0, 78.0, 140.0]
    } else {
        [178.0, 34.0, 34.0]
    };
    // Small shares are what one looks for off the diagonal: the square root shows them.
    let strength = share.sqrt();
    full.map(|v| (247.0 + (v - 247.0) * strength).round() as u8)
}

struct Canvas(Photo);

impl Canvas {
    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.0.width && y < self.0.height {
            let at = (y * self.0.width + x) * 3;
            self.0.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn fill(&mut self, x: usize, y: usize, side: usize, colour: [u8; 3]) {
        for dy in 0..side {
            for dx in 0..side {
                self.set(x + dx, y + dy, colour);
            }
        }
    }

    /// Writes text from (x, y) on, to the right or, turned, upwards. Letters outside ASCII become question marks.
    fn text(&mut self, text: &str, x: usize, y: usize, upwards: bool, colour: [u8; 3]) {
        for (i, letter) in text.chars().enumerate() {
            let Some(glyph) = BASIC_FONTS.get(letter).or_else(|| BASIC_FONTS.get('?')) else {
                continue;
            };
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    if upwards {
                        let along = i * LETTER + column;
                        if let Some(y) = (y + LETTER).checked_sub(along + 1) {
                            self.set(x + row, y, colour);
                        }
                    } else {
                        self.set(x + i * LETTER + column, y + row, colour);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_class() {
        let mut confusion = Confusion::new(3);
        for (truth, predicted) in [(0, 0), (0, 1), (2, 2), (2, 2), (3, 0), (1, 7)] {
            confusion.add(truth, predicted);
        }
        assert_eq!((confusion.total(), confusion.right()), (4, 3));
        assert_eq!(confusion.of(0), (1, 2));
        assert_eq!(confusion.of(1), (0, 0));
        assert_eq!(confusion.of(9), (0, 0));
    }

    #[test]
    fn the_picture_of_any_number_of_classes_has_its_size() {
        for classes in [0, 1, 10, 64, 65, 1000] {
            let labels: Vec<String> = (0..classes)
                .map(|i| format!("class número {i} with a long name"))
                .collect();
            let picture = Confusion::new(classes).picture(&labels);
            assert_eq!(picture.pixels.len(), picture.width * picture.height * 3);
            assert!(picture.width < 2400);
        }
    }
}
