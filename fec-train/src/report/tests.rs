//! The page says what the numbers mean, and text of others stays text.

use super::numbers::{Numbers, interval};
use super::*;
use crate::run::EpochRow;

fn report(confusion: &[u64], train_images: &[u64]) -> Report {
    let classes = (0..train_images.len()).map(|i| format!("c{i}"));
    Report {
        name: "run".into(),
        classes: classes.collect(),
        train_images: train_images.to_vec(),
        confusion: confusion.to_vec(),
        ..Report::default()
    }
}

fn epoch(epoch: u64, eval_loss: f64, eval_top1: f64) -> EpochRow {
    EpochRow {
        epoch,
        step: epoch + 1,
        train_loss: 1.0,
        eval_loss: Some(eval_loss),
        eval_top1: Some(eval_top1),
        eval_top5: None,
        lr: 0.1,
        images_per_second: 10.0,
        seconds: 1.0,
    }
}

#[test]
fn the_interval_is_wilsons() {
    // By the formula in rational arithmetic, to four places.
    for (right, total, low, high) in [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (50, 50, 0.9287, 1.0),
        (600, 1000, 0.5693, 0.6299),
        (0, 0, 0.0, 1.0),
        (9, 3, 0.4385, 1.0),
    ] {
        let (l, h) = interval(right, total);
        assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{l} {h}");
    }
}

#[test]
fn numbers_of_classes_are_those_of_the_matrix() {
    let report = report(&[6, 2, 2, 0, 4, 0, 1, 0, 3], &[10, 20, 30]);
    let numbers = Numbers::of(&report);
    assert_eq!((numbers.right, numbers.total), (13, 18));
    let [a, b, c] = &numbers.classes[..] else {
        panic!("three classes");
    };
    assert_eq!((a.recall(), a.precision()), (Some(0.6), Some(6.0 / 7.0)));
    assert_eq!((b.recall(), b.precision()), (Some(1.0), Some(4.0 / 6.0)));
    assert_eq!(
        (a.mistaken, b.mistaken, c.mistaken),
        (Some((1, 2)), None, Some((0, 1)))
    );
    assert_eq!(numbers.best().unwrap().class, 1);
    assert_eq!(numbers.worst().unwrap().class, 0);
    assert!((numbers.baseline() - 10.0 / 18.0).abs() < 1e-12);
    assert_eq!(numbers.confused[0].count, 2);
}

/// The one paragraph that holds the word.
fn said(report: &Report, word: &str) -> Option<String> {
    let mut paragraphs = report.advice().into_iter().filter(|p| p.contains(word));
    let found = paragraphs.next();
    assert!(paragraphs.next().is_none(), "{word}");
    found
}

#[test]
fn each_weakness_is_told_with_what_to_do() {
    let good = report(&[90, 5, 5, 95], &[100, 100]);
    assert!(
        good.advice()[0].starts_with("Nothing stands out"),
        "{:?}",
        good.advice()
    );
    let guessing = report(&[12, 8, 9, 11], &[100, 100]);
    assert!(said(&guessing, "guessing").is_some());
    assert!(said(&guessing, "40 validation images are few").is_some());
    let confused = said(&guessing, "It often takes").unwrap();
    assert!(
        confused.contains("“c1” for “c0” (9 of 20), “c0” for “c1” (8 of 20)"),
        "{confused}"
    );
    let few = report(&[90, 5, 5, 95], &[100, 7]);
    assert!(
        said(
            &few,
            "“c1” has fewer than 20 training images (the fewest are 7)"
        )
        .is_some()
    );
    assert!(
        said(
            &few,
            "“c0” has 100 training images, “c1” has 7, 14 times as many"
        )
        .is_some()
    );
    let all_few = report(&[90, 5, 5, 95], &[8, 7]);
    assert!(said(&all_few, "All classes have fewer").is_some());
    let never = report(&[90, 0, 10, 0], &[100, 100]);
    assert!(said(&never, "It never names “c1”").is_some());
    let missing = report(&[90, 10, 0, 0], &[100, 100]);
    assert!(said(&missing, "no validation image of “c1”").is_some());
    assert!(said(&report(&[0; 4], &[100, 100]), "no validation images").is_some());
}

#[test]
fn curves_are_read_for_too_long_and_too_short_a_training() {
    let mut rising = report(&[90, 5, 5, 95], &[100, 100]);
    rising.rows.epochs = (0..10)
        .map(|i| epoch(i, 1.0 - 0.05 * i as f64, 50.0 + 4.0 * i as f64))
        .collect();
    assert!(said(&rising, "still rising at the end, by 8.0 points").is_some());
    let mut overfitted = report(&[90, 5, 5, 95], &[100, 100]);
    overfitted.rows.epochs = (0..10)
        .map(|i| epoch(i, 1.0 + 0.1 * (i as f64 - 3.0).abs(), 80.0))
        .collect();
    assert!(said(&overfitted, "risen since epoch 4").is_some());
    assert!(said(&overfitted, "still rising").is_none());
}

#[test]
fn text_of_others_stays_text_and_nothing_comes_from_outside() {
    let hostile = "<script>alert(1)</script>\"'&{name}\u{202e}";
    let photo = Photo::new(2, 2, vec![200; 12]).unwrap();
    let mut report = report(&[3, 1, 0, 2], &[5, 5]);
    report.classes = vec![hostile.into(), format!("{hostile}2")];
    for text in [
        &mut report.name,
        &mut report.model,
        &mut report.begun_from,
        &mut report.recipe,
    ] {
        *text = hostile.into();
    }
    report.worst.push(Mistake {
        picture: photo.clone(),
        file: hostile.into(),
        truth: 0,
        predicted: 1,
        probability: 0.9,
    });
    report.maps.push(Grouped {
        caption: hostile.into(),
        pictures: vec![(hostile.into(), photo)],
    });
    report.unreadable.push(Unreadable {
        file: hostile.into(),
        reason: hostile.into(),
    });
    report.next.push(Command {
        what: hostile.into(),
        line: hostile.into(),
    });
    let page = report.to_html().unwrap();
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert!(page.matches("&lt;script&gt;").count() > 15);
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 2);
}

#[test]
fn a_share_is_called_all_or_nothing_only_where_it_is() {
    let text = |share| page::percent(share).replace('\u{a0}', " ");
    let shares = [
        0.0,
        1e-5,
        0.004,
        0.5,
        f64::from(0.99f32),
        0.9951,
        0.99999,
        1.0,
    ];
    let texts = shares.map(text).join(", ");
    assert_eq!(
        texts,
        "0 %, 0.1 %, 0.4 %, 50 %, 99 %, 99.5 %, 99.9 %, 100 %"
    );
}

#[test]
fn any_numbers_make_a_page() {
    for (confusion, train) in [
        (&[][..], &[][..]),
        (&[0], &[0]),
        (&[7], &[3]),
        (&[0, 0, 0, 0], &[0, 0]),
        (&[0, 9, 0, 0], &[0, 1]),
    ] {
        let page = report(confusion, train).to_html().unwrap();
        assert!(!page.contains("NaN"), "{page}");
    }
    let mut wrong = report(&[1, 2, 3], &[1, 1]);
    let error = wrong.to_html().unwrap_err().to_string();
    assert_eq!(
        error,
        "counts of a confusion matrix: 3 values given, 4 expected by the shape"
    );
    wrong.train_images.pop();
    assert!(wrong.to_html().is_err());
}

#[test]
fn few_epochs_are_drawn_by_steps_and_the_picture_stands_alone() {
    let mut rows = Rows {
        epochs: (0..3).map(|i| epoch(i, 1.0, 50.0)).collect(),
        ..Rows::default()
    };
    assert_eq!(curves(&rows).x, "step");
    rows.epochs.push(epoch(3, 1.0, 50.0));
    assert_eq!(curves(&rows).x, "epoch");
    let names: Vec<_> = curves(&rows).series.iter().map(|s| s.name).collect();
    assert_eq!(names, ["training loss", "validation loss", "top-1"]);
    assert!(curves_svg(&rows).starts_with("<?xml"));
    assert!(curves_svg(&Rows::default()).contains("nothing to show yet"));
}
