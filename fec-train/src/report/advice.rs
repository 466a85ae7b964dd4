//! What stands out in a report, and what to do about it, in sentences.

use super::Report;
use super::numbers::{Class, Confused, Numbers, interval};
use super::page::percent;

/// Accuracy that is known no better than to so many points either way is rough.
const ROUGH: f64 = 0.075;
/// Fewer training images than this are few for a class.
const FEW: u64 = 20;
/// The largest class over the smallest, from which on imbalance is told.
const IMBALANCED: u64 = 5;
/// A confusion worth a word: this share of a class's images, and so many.
const CONFUSED_SHARE: f64 = 0.2;
const CONFUSED_COUNT: u64 = 3;
/// Points of top-1 that the last fifth of training added, from which on more training promises more.
const RISING: f64 = 1.0;
/// Validation loss over its lowest, from which on training went on too long.
const OVERFITTED: f64 = 1.15;
/// Classes that a sentence names at most.
const NAMED: usize = 5;

pub(super) fn advice(report: &Report, numbers: &Numbers) -> Vec<String> {
    let all = [
        no_validation(numbers),
        no_better_than_guessing(report, numbers),
        few_training_images(report),
        imbalance(report),
        confusions(report, numbers),
        one_answer(report, numbers),
        too_long(report),
        too_short(report),
        rough(numbers),
        not_validated(report, numbers),
        unreadable(report),
    ];
    let mut said: Vec<String> = all.into_iter().flatten().collect();
    if said.is_empty() {
        said.push(
            "Nothing stands out. Look at the mistakes below: are their labels right, and would you have got them right?"
                .to_string(),
        );
    }
    said
}

fn no_validation(numbers: &Numbers) -> Option<String> {
    (numbers.total == 0).then(|| {
        "There were no validation images, so nothing is known about how good this model is: put some images of each class aside."
            .to_string()
    })
}

fn no_better_than_guessing(report: &Report, numbers: &Numbers) -> Option<String> {
    let accuracy = numbers.accuracy()?;
    let (low, _) = interval(numbers.right, numbers.total);
    if low > numbers.baseline() || report.classes.len() < 2 {
        return None;
    }
    Some(format!(
        "The model is not shown to be better than guessing: always naming the most common class would be right for {}, the model is for {}. \
         Look whether the labels are right; then train longer, begin from a trained model's weights, or add images.",
        percent(numbers.baseline()),
        percent(accuracy)
    ))
}

fn few_training_images(report: &Report) -> Option<String> {
    let few: Vec<usize> = by_images(report)
        .into_iter()
        .filter(|&(images, _)| images < FEW)
        .map(|(_, class)| class)
        .collect();
    let least = by_images(report).first().map(|&(images, _)| images)?;
    if few.is_empty() {
        return None;
    }
    let who = if few.len() == report.classes.len() {
        "All classes have".to_string()
    } else {
        let have = if few.len() == 1 { "has" } else { "have" };
        format!("{} {have}", list(report, &few))
    };
    Some(format!(
        "{who} fewer than {FEW} training images (the fewest are {least}). More photos of these help most: other places, light and angles rather \
         than more of the same moment."
    ))
}

fn imbalance(report: &Report) -> Option<String> {
    let classes = by_images(report);
    let (&(least, smallest), &(most, largest)) = (classes.first()?, classes.last()?);
    if most < least.max(1).saturating_mul(IMBALANCED) {
        return None;
    }
    let times = most.checked_div(least);
    let times = times.map_or(String::new(), |t| format!(", {t} times as many"));
    Some(format!(
        "Classes are unequal: {} has {most} training images, {} has {least}{times}. The model leans towards large classes; add images to the \
         small ones, or take fewer of the large ones.",
        named(report, largest),
        named(report, smallest)
    ))
}

fn confusions(report: &Report, numbers: &Numbers) -> Option<String> {
    let frequent =
        |c: &&Confused| c.count >= CONFUSED_COUNT && c.count as f64 >= CONFUSED_SHARE * c.of as f64;
    let pairs: Vec<String> = numbers
        .confused
        .iter()
        .filter(frequent)
        .take(3)
        .map(|c| {
            let (truth, predicted) = (named(report, c.truth), named(report, c.predicted));
            format!("{truth} for {predicted} ({} of {})", c.count, c.of)
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    Some(format!(
        "It often takes {}. Are all of these labelled right? If they look alike to you too, join the classes; if not, add photos that show the \
         difference.",
        pairs.join(", ")
    ))
}

/// A model that names few classes has learnt their frequencies, not the pictures.
fn one_answer(report: &Report, numbers: &Numbers) -> Option<String> {
    let never: Vec<usize> = numbers
        .classes
        .iter()
        .filter(|c| c.named == 0 && c.val > 0)
        .map(|c| c.class)
        .collect();
    if never.is_empty() {
        return None;
    }
    Some(format!(
        "It never names {}, though there are validation images of it: too few images, too short a training, or wrong labels.",
        list(report, &never)
    ))
}

fn too_long(report: &Report) -> Option<String> {
    let losses = report
        .rows
        .epochs
        .iter()
        .filter_map(|row| Some((row.epoch, row.eval_loss?)));
    let losses: Vec<(u64, f64)> = losses.collect();
    let &(best, lowest) = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let &(_, last) = losses.last()?;
    let late = losses.iter().filter(|l| l.0 > best).count();
    if last <= OVERFITTED * lowest || late * 4 < losses.len() {
        return None;
    }
    Some(format!(
        "The validation loss has risen since epoch {}: the model begins to learn the training images by heart. More images, stronger \
         augmentation (`aa`, `mixup`) or fewer epochs help; longer training does not.",
        best + 1
    ))
}

fn too_short(report: &Report) -> Option<String> {
    let top1 = report.rows.epochs.iter().filter_map(|row| row.eval_top1);
    let top1: Vec<f64> = top1.collect();
    if top1.len() < 5 {
        return None;
    }
    let (before, late) = top1.split_at(top1.len() - top1.len() / 5);
    let best = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let gain = best(late) - best(before);
    (gain >= RISING).then(|| {
        format!(
            "Accuracy was still rising at the end, by {gain:.1} points in the last fifth: training longer (more `epochs`) promises more."
        )
    })
}

fn rough(numbers: &Numbers) -> Option<String> {
    let (low, high) = interval(numbers.right, numbers.total);
    if numbers.total == 0 || (high - low) / 2.0 < ROUGH {
        return None;
    }
    Some(format!(
        "{} validation images are few: the accuracy is rough, and differences of some points between two runs mean nothing.",
        numbers.total
    ))
}

fn not_validated(report: &Report, numbers: &Numbers) -> Option<String> {
    let without = |c: &&Class| c.val == 0 && numbers.total > 0;
    let classes: Vec<usize> = numbers
        .classes
        .iter()
        .filter(without)
        .map(|c| c.class)
        .collect();
    if classes.is_empty() {
        return None;
    }
    Some(format!(
        "There is no validation image of {}: nothing is known about how well the model does there.",
        list(report, &classes)
    ))
}

fn unreadable(report: &Report) -> Option<String> {
    match report.unreadable.len() {
        0 => None,
        1 => Some("One file could not be read and was left out; it is named below.".to_string()),
        n => Some(format!(
            "{n} files could not be read and were left out; they are named below."
        )),
    }
}

/// (training images, class), fewest first.
fn by_images(report: &Report) -> Vec<(u64, usize)> {
    let mut classes: Vec<(u64, usize)> = (0..)
        .zip(&report.train_images)
        .map(|(i, &n)| (n, i))
        .collect();
    classes.sort_unstable();
    classes
}

/// A class's name, set off from the sentence around it.
fn named(report: &Report, class: usize) -> String {
    // Backticks mark code.
    format!("“{}”", super::page::named(report, class).replace('`', "'"))
}

/// Some of the classes by name.
fn list(report: &Report, classes: &[usize]) -> String {
    let names: Vec<String> = classes
        .iter()
        .take(NAMED)
        .map(|&c| named(report, c))
        .collect();
    let more = classes.len().saturating_sub(NAMED);
    match (names.as_slice(), more) {
        ([.., _], 1..) => format!("{} and {more} more classes", names.join(", ")),
        ([first @ .., last], 0) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.join(", "),
    }
}
