//! Colours for regions: neighbours differ clearly, also for eyes that do not tell red from green, and the same map always gets the same
//! colours.

use std::collections::HashMap;

use crate::labels::{Neighbours, Region};

/// Pastel and middle tones; every two differ in normal and in red-green-blind vision (tested).
pub const PALETTE: [[u8; 3]; 10] = [
    [88, 172, 244],
    [232, 172, 64],
    [100, 220, 172],
    [220, 124, 184],
    [244, 244, 148],
    [40, 112, 184],
    [184, 112, 40],
    [244, 196, 244],
    [40, 160, 124],
    [148, 76, 124],
];

/// A colour of the palette for each region, in the regions' order.
///
/// Regions choose from the largest to the smallest, each the colour that is farthest from those of its neighbours, weighted by the length of
/// the common boundary; then all choose once more, knowing every neighbour. Clusters need not be connected, so four colours would not do.
pub fn colour_regions(regions: &[Region], neighbours: &[Neighbours]) -> Vec<[u8; 3]> {
    let number: HashMap<u16, usize> = regions
        .iter()
        .enumerate()
        .map(|(i, r)| (r.label, i))
        .collect();
    let mut touching: Vec<Vec<(usize, usize)>> = vec![Vec::new(); regions.len()];
    for pair in neighbours {
        if let (Some(&a), Some(&b)) = (number.get(&pair.a), number.get(&pair.b)) {
            touching[a].push((b, pair.edges));
            touching[b].push((a, pair.edges));
        }
    }
    let mut order: Vec<usize> = (0..regions.len()).collect();
    order.sort_by_key(|&i| (core::cmp::Reverse(regions[i].area), regions[i].label));
    let likeness = likeness();
    let mut chosen: Vec<Option<usize>> = vec![None; regions.len()];
    let mut used = [0usize; PALETTE.len()];
    for round in 0..3 {
        for &i in &order {
            if let Some(old) = chosen[i].take() {
                used[old] -= 1;
            }
            let cost = |c: usize| {
                let clash: f32 = touching[i]
                    .iter()
                    .filter_map(|&(j, edges)| chosen[j].map(|o| likeness[c][o] * edges as f32))
                    .sum();
                // A little pressure to use the whole palette; it never outweighs a neighbour of the same colour.
                clash + used[c] as f32 * if round == 0 { 1.0 } else { 0.1 }
            };
            let best = (0..PALETTE.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
            let best = best.unwrap_or(0);
            chosen[i] = Some(best);
            used[best] += 1;
        }
    }
    chosen
        .into_iter()
        .map(|c| PALETTE[c.unwrap_or(0)])
        .collect()
}

/// For every two colours of the palette how hard they are to tell apart, in the vision where that is hardest.
fn likeness() -> [[f32; PALETTE.len()]; PALETTE.len()] {
    let mut table = [[0.0; PALETTE.len()]; PALETTE.len()];
    for (row, &a) in table.iter_mut().zip(&PALETTE) {
        for (cell, &b) in row.iter_mut().zip(&PALETTE) {
            let d = distance(a, b);
            *cell = 1.0 / (d * d + 0.001);
        }
    }
    table
}

/// Distance in Oklab, the least of normal, protanopic and deuteranopic vision; black to white is 1.
pub fn distance(a: [u8; 3], b: [u8; 3]) -> f32 {
    let apart = |see: fn([f32; 3]) -> [f32; 3]| {
        let (a, b) = (oklab(see(linear(a))), oklab(see(linear(b))));
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f32>().sqrt()
    };
    apart(|c| c).min(apart(protanopic)).min(apart(deuteranopic))
}

/// Linear light of an sRGB colour, 0 to 1.
fn linear(colour: [u8; 3]) -> [f32; 3] {
    colour.map(|v| {
        let v = f32::from(v) / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    })
}

fn matrix(m: [[f32; 3]; 3], v: [f32; 3]) -> [f32; 3] {
    m.map(|row| row.iter().zip(v).map(|(m, v)| m * v).sum())
}

/// Linear light as an eye without red cones sees it (Vienot, Brettel and Mollon 1999).
fn protanopic(colour: [f32; 3]) -> [f32; 3] {
    const M: [[f32; 3]; 3] = [
        [0.112_38, 0.887_62, 0.0],
        [0.112_38, 0.887_62, 0.0],
        [0.004_01, -0.004_01, 1.0],
    ];
    matrix(M, colour)
}

/// Linear light as an eye without green cones sees it (the same).
fn deuteranopic(colour: [f32; 3]) -> [f32; 3] {
    const M: [[f32; 3]; 3] = [
        [0.292_75, 0.707_25, 0.0],
        [0.292_75, 0.707_25, 0.0],
        [-0.022_34, 0.022_34, 1.0],
    ];
    matrix(M, colour)
}

/// Oklab (Ottosson 2020) of linear light.
fn oklab(colour: [f32; 3]) -> [f32; 3] {
    const TO_CONES: [[f32; 3]; 3] = [
        [0.412_221_46, 0.536_332_55, 0.051_445_995],
        [0.211_903_5, 0.680_699_5, 0.107_396_96],
        [0.088_302_46, 0.281_718_85, 0.629_978_7],
    ];
    const TO_LAB: [[f32; 3]; 3] = [
        [0.210_454_26, 0.793_617_8, -0.004_072_047],
        [1.977_998_5, -2.428_592_2, 0.450_593_7],
        [0.025_904_037, 0.782_771_77, -0.808_675_77],
    ];
    matrix(TO_LAB, matrix(TO_CONES, colour).map(|v| v.max(0.0).cbrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Photo;
    use crate::labels::LabelMap;

    /// Two colours this far apart are told apart at a glance when they touch; 0.02 is about the least difference that is seen at all.
    const CLEAR: f32 = 0.09;

    #[test]
    fn black_and_white_are_one_apart() {
        assert!((distance([0; 3], [255; 3]) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn every_two_colours_of_the_palette_are_told_apart_in_every_vision() {
        for (i, &a) in PALETTE.iter().enumerate() {
            for &b in &PALETTE[..i] {
                assert!(distance(a, b) > CLEAR, "{a:?} {b:?} {}", distance(a, b));
            }
        }
    }

    #[test]
    fn neighbours_get_other_colours_and_the_same_map_the_same() {
        // A grid of 15 x 15 regions, with one region scattered over all of it.
        let labels: Vec<u16> = (0..60 * 60u16)
            .map(|i| match (i / 60, i % 60) {
                (y, x) if x % 13 == 5 && y % 11 == 3 => 999,
                (y, x) => y / 4 * 15 + x / 4,
            })
            .collect();
        let map = LabelMap::new(60, 60, labels).unwrap();
        let regions = map.regions(&Photo::new(1, 1, vec![0; 3]).unwrap());
        let neighbours = map.neighbours();
        let colours = colour_regions(&regions, &neighbours);
        assert_eq!(colours, colour_regions(&regions, &neighbours));
        let colour = |l: u16| colours[regions.iter().position(|r| r.label == l).unwrap()];
        for pair in &neighbours {
            let d = distance(colour(pair.a), colour(pair.b));
            assert!(d > CLEAR, "{pair:?}: {d}");
        }
    }
}
