//! Names of runs.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Error;

const SECONDS_PER_DAY: u64 = 86_400;
/// The last second of the year 9999: later ones have no name of this form.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a new run is called.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// As the user says; it must not be there yet.
    Given(&'a str),
    /// Date, time (UTC), model and image size, with a number behind where that is there already.
    Auto {
        /// The model's name, e.g. `fec_nano`.
        model: &'a str,
        /// Side of the images in pixels.
        size: usize,
    },
}

impl Name<'_> {
    /// Names to try, in this order.
    pub(super) fn candidates(&self) -> Result<Vec<String>, Error> {
        match *self {
            Name::Given(name) => {
                let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
                if name.is_empty() || name.starts_with(['.', '-']) || name.contains(odd) {
                    return Err(Error::Name { name: name.into() });
                }
                Ok(vec![name.to_string()])
            }
            Name::Auto { model, size } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.map_or(0, |since| since.as_secs());
                let letter = |c: char| {
                    if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                        c
                    } else {
                        '_'
                    }
                };
                let model: String = model.chars().map(letter).collect();
                let first = format!("{}-{model}-{size}", stamp(now));
                let more = (2..100).map(|n| format!("{first}-{n}"));
                Ok(core::iter::once(first.clone()).chain(more).collect())
            }
        }
    }
}

/// `YYYYMMDD-HHMMSS` of seconds since 1970, UTC.
fn stamp(seconds: u64) -> String {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let seconds = seconds.min(LAST_SECOND);
    let mut day = seconds / SECONDS_PER_DAY;
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let second = seconds % SECONDS_PER_DAY;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let (day, second) = (day + 1, second % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As `date -u -d @N +%Y%m%d-%H%M%S` prints them.
        for (seconds, expected) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (951_868_800, "20000301-000000"),
            (1_735_689_599, "20241231-235959"),
            (1_795_540_835, "20261124-172035"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(stamp(seconds), expected);
        }
        assert_eq!(stamp(u64::MAX), "99991231-235959");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        for name in [
            "", ".", "..", "../x", "a/b", "a\\b", "c:x", "-x", "a\nb", ".x",
        ] {
            let error = Name::Given(name).candidates().unwrap_err().to_string();
            assert!(
                error.contains("cannot name a run") && !error.contains('\n'),
                "{error}"
            );
        }
        assert_eq!(Name::Given("réseau 1").candidates().unwrap(), ["réseau 1"]);
        let auto = Name::Auto {
            model: "a/b",
            size: 64,
        };
        assert!(
            auto.candidates()
                .unwrap()
                .iter()
                .all(|n| n.contains("-a_b-64"))
        );
    }
}
