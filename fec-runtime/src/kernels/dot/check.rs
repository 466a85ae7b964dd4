//! Every operation of every instruction set's byte products against plain integers.

use super::{Dot, Group, Portable};
use crate::format::{GROUP, LANES};
use crate::kernels::Isa;
use crate::kernels::lanes::Lanes;

/// Groups of the longest row: several times what any loop takes at once, and a rest.
const GROUPS: usize = 19;

struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A byte of a row; the ends of the range are frequent.
    fn byte(&mut self) -> u8 {
        match self.next() % 4 {
            0 => 0,
            1 => 255,
            _ => self.next() as u8,
        }
    }

    /// A weight; the ends of the range are frequent.
    fn weight(&mut self) -> i8 {
        match self.next() % 4 {
            0 => -127,
            1 => 127,
            _ => (self.next() as i8).max(-127),
        }
    }
}

/// Some rows and a panel.
struct Problem {
    rows: [[[u8; GROUP]; GROUPS]; 14],
    panels: [[Group; GROUPS]; 2],
    zero: u8,
}

impl Problem {
    fn new(numbers: &mut Numbers) -> Self {
        let mut problem = Self {
            rows: [[[0; GROUP]; GROUPS]; 14],
            panels: [[[0; GROUP * LANES]; GROUPS]; 2],
            zero: numbers.byte(),
        };
        for row in problem.rows.as_flattened_mut() {
            *row = core::array::from_fn(|_| numbers.byte());
        }
        for group in problem.panels.as_flattened_mut() {
            *group = core::array::from_fn(|_| numbers.weight());
        }
        problem
    }

    /// What the definition gives for the first `groups`.
    fn expected(&self, row: usize, panel: usize, groups: usize) -> [i32; LANES] {
        core::array::from_fn(|o| {
            let product = |(g, k): (usize, usize)| {
                let x = i32::from(self.rows[row][g][k]) - i32::from(self.zero);
                x * i32::from(self.panels[panel][g][o * GROUP + k])
            };
            (0..groups * GROUP)
                .map(|i| product((i / GROUP, i % GROUP)))
                .sum()
        })
    }

    fn weight_sums(&self, panel: usize, groups: usize) -> [i32; LANES] {
        core::array::from_fn(|o| {
            let weights = self.panels[panel][..groups].iter();
            weights
                .flat_map(|group| &group[o * GROUP..][..GROUP])
                .map(|&w| i32::from(w))
                .sum()
        })
    }
}

fn ints<D: Dot>(ints: <D::Lanes as Lanes>::Ints) -> [i32; LANES] {
    let mut out = [0; LANES];
    D::Lanes::store_ints(ints, &mut out);
    out
}

/// R rows with P panels, and the same group by group.
fn products<D: Dot, const R: usize, const P: usize>(name: &str, problem: &Problem, groups: usize) {
    let start = core::array::from_fn(|p| D::start(problem.zero, &problem.weight_sums(p, groups)));
    let found = D::products::<R, P>(
        problem.rows.as_flattened().as_flattened(),
        GROUPS * GROUP,
        core::array::from_fn(|p| &problem.panels[p][..groups]),
        start,
    );
    for (r, found) in found.into_iter().enumerate() {
        for (p, found) in found.into_iter().enumerate() {
            let expected = problem.expected(r, p, groups);
            let place = [R, P, groups, r, p];
            assert_eq!(ints::<D>(found), expected, "{name}: products {place:?}");
            let one_by_one = (0..groups).fold(start[p], |sums, g| {
                let weights = D::weights(&problem.panels[p][g]);
                D::dot(sums, D::row(&problem.rows[r][g]), weights)
            });
            assert_eq!(
                ints::<D>(D::ints(one_by_one)),
                expected,
                "{name}: dot {place:?}"
            );
        }
    }
}

fn look_up<D: Dot>(name: &str, numbers: &mut Numbers) {
    const SPECIAL: [f32; 12] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        127.5,
        -128.5,
        -128.6,
        0.5,
        -0.5,
        1.5,
        -1e30,
        3e9,
        1e-45,
    ];
    let table = core::array::from_fn(|_| numbers.next() as u8);
    let values: [[f32; LANES]; 4] = core::array::from_fn(|_| {
        core::array::from_fn(|_| match numbers.next() as usize % 40 {
            i if i < SPECIAL.len() => SPECIAL[i],
            _ => (numbers.next() as i32) as f32 / (1 << 24) as f32 * 1.1,
        })
    });
    let found = D::look_up(values.map(|v| D::Lanes::load(&v)), &D::table(&table));
    let portable = Portable::table(&table);
    let expected = Portable::look_up(values.map(|v| Lanes::load(&v)), &portable);
    assert_eq!(found, expected, "{name}: {values:?}");
}

fn compare<D: Dot>(isa: Isa) {
    const ROUNDS: u32 = 20;
    if !isa.is_available() {
        return;
    }
    let name = isa.name();
    for seed in 1..=ROUNDS {
        let numbers = &mut Numbers(seed.wrapping_mul(0x9E37_79B9));
        let problem = Problem::new(numbers);
        for groups in 1..=GROUPS {
            products::<D, 1, 1>(name, &problem, groups);
            products::<D, 2, 1>(name, &problem, groups);
            products::<D, 4, 1>(name, &problem, groups);
            products::<D, 6, 1>(name, &problem, groups);
            products::<D, 14, 2>(name, &problem, groups);
            products::<D, 7, 2>(name, &problem, groups);
            look_up::<D>(name, numbers);
        }
    }
}

#[test]
fn products_of_every_instruction_set_are_exact() {
    compare::<Portable>(Isa::Portable);
    #[cfg(target_arch = "x86_64")]
    {
        use super::{avx2::Avx2, avx512::Avx512, avx512::Vnni};
        compare::<Avx2>(Isa::Avx2);
        compare::<Avx512>(Isa::Avx512);
        compare::<Vnni>(Isa::Avx512Vnni);
    }
    #[cfg(target_arch = "aarch64")]
    {
        use super::{neon::Neon, neon_dotprod::NeonDotprod, neon_i8mm::NeonI8mm};
        compare::<Neon>(Isa::Neon);
        compare::<NeonDotprod>(Isa::NeonDotprod);
        compare::<NeonI8mm>(Isa::NeonI8mm);
    }
}
