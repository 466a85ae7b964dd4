//! Pictures hold what they are given, as sound XML, whatever that is.

use super::lines::Scale;
use super::*;

/// Whether every element is closed in its turn; attributes hold no `<`, since text is escaped.
fn assert_sound(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if tag.starts_with('?') || tag.ends_with('/') {
            continue;
        } else if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

fn chart(points: Vec<(f64, f64)>) -> LineChart<'static> {
    LineChart {
        x: "epoch",
        left: "loss",
        right: "<top-1> %",
        series: vec![
            Series {
                name: "a & b",
                points: points.clone(),
                axis: Axis::Left,
                dashed: false,
            },
            Series {
                name: "top-1",
                points,
                axis: Axis::Right,
                dashed: true,
            },
        ],
    }
}

#[test]
fn any_numbers_make_a_picture() {
    let nan = f64::NAN;
    for points in [
        vec![],
        vec![(1.0, 2.0)],
        vec![(1.0, nan), (nan, 1.0)],
        vec![(1.0, 0.0), (2.0, 0.0)],
        vec![(1.0, 1e300), (2.0, -1e300), (3.0, f64::INFINITY)],
        vec![(0.0, 1e-300), (0.0, 2e-300)],
        (0..100_000)
            .map(|i| (f64::from(i), f64::from(i % 7)))
            .collect(),
    ] {
        let svg = chart(points).svg();
        assert_sound(&svg);
        assert!(svg.len() < 60_000, "{} bytes", svg.len());
    }
}

#[test]
fn a_line_is_broken_where_it_is_no_number() {
    let svg = chart(vec![(1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 1.0)]).svg();
    let path = svg.split("class=\"curve\"").nth(2).unwrap();
    let path = path
        .split("d=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(path.matches('M').count(), 2, "{path}");
    assert_eq!(path.matches('L').count(), 1, "{path}");
}

#[test]
fn axes_are_labelled_with_round_numbers() {
    let ticks = |values: &[f64]| {
        let scale = Scale::over(values.iter().copied(), true, 0.0..100.0).unwrap();
        let texts = scale.ticks().into_iter().map(|t| scale.text(t));
        texts.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ticks(&[0.31, 2.3]), "0.0 0.5 1.0 1.5 2.0 2.5");
    assert_eq!(ticks(&[41.0, 86.5]), "0 20 40 60 80 100");
    assert_eq!(ticks(&[-0.02, 0.05]), "-0.02 0.00 0.02 0.04 0.06");
    assert_eq!(ticks(&[980.0, 1000.0]), "980 985 990 995 1000");
}

#[test]
fn a_picture_of_its_own_has_its_colours_with_it() {
    let file = standalone(&chart(vec![(1.0, 1.0), (2.0, 3.0)]).svg());
    assert!(file.starts_with("<?xml") && file.contains("xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(file.contains("prefers-color-scheme: dark") && file.contains("a &amp; b"));
    assert_sound(&file);
}

#[test]
fn bars_of_any_number_and_length_make_a_picture() {
    let label = "a <very> long name that does not fit, 日本語".repeat(3);
    for (n, value) in [(0, 1.0), (3, 0.0), (40, 5.0), (41, 7.0), (1000, 3.0)] {
        let bars: Vec<Bar<'_>> = (0..n)
            .map(|i| Bar {
                label: &label,
                value: if i == 1 { 0.0 } else { value },
            })
            .collect();
        let svg = bar_chart(&bars);
        assert_sound(&svg);
        assert_eq!(svg.matches("class=\"bar\"").count(), n);
    }
}

#[test]
fn a_matrix_names_classes_and_counts_for_2_to_200_classes() {
    for classes in [0, 1, 2, 3, 50, 200, 1000] {
        let labels: Vec<String> = (0..classes).map(|i| format!("class <{i}>")).collect();
        let mut counts = vec![0; classes * classes];
        for i in 0..classes {
            counts[i * classes + i] = 3;
            counts[i * classes + (i + 1) % classes] += 1;
        }
        let svg = confusion_matrix(&labels, &counts);
        assert_sound(&svg);
        if classes > 1 {
            assert!(svg.contains("class &lt;0&gt; taken for class &lt;1&gt;: 1 of 4"));
            assert_eq!(svg.matches("class=\"right\"").count(), classes);
        }
        if (2..=200).contains(&classes) {
            // Each name beside its row and above its column, in letters of at least 12 pixels.
            assert_eq!(svg.matches("font-size:12px").count(), 2 * classes);
        }
    }
    // Fewer or more counts than the labels have room for are no reason to fail.
    assert_sound(&confusion_matrix(&["a".into(), "b".into()], &[1, 2, 3]));
    assert_sound(&confusion_matrix(&["a".into()], &[1, 2, 3]));
}

#[test]
fn long_text_is_cut_where_it_would_be_too_wide() {
    assert_eq!(cut("short", 100.0), "short");
    let long = cut(&"x".repeat(100), 100.0);
    assert!(long.ends_with('…') && text_width(&long) <= 112.0, "{long}");
    assert!(cut(&"漢".repeat(100), 100.0).chars().count() < 9);
}
