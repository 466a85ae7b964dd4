//! Recipes: what is taken, what is refused and how, that a printed recipe is the recipe; the learning rate against timm's
//! (fixtures/timm.json).

use fec_runtime::config::{Dispatch, Similarity};
use fec_train::augment::Colours;
use fec_train::recipe::{EMBEDDED, Error, Recipe};
use fec_train::schedule::Schedule;
use serde_json::Value;

const NONE: [&str; 0] = [];

fn parse(text: &str) -> Result<Recipe, Error> {
    Recipe::parse("r.toml", text, &NONE)
}

#[track_caller]
fn refused(text: &str, overrides: &[&str], expected: &str) {
    let error = Recipe::parse("r.toml", text, overrides)
        .unwrap_err()
        .to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn the_programs_recipes_are_sound_and_come_back_from_their_own_print() {
    for (name, text) in EMBEDDED {
        let recipe = Recipe::load(name, &["data=some folder"]).unwrap();
        assert_eq!(recipe.data, "some folder");
        let printed = recipe.to_toml();
        assert_eq!(parse(&printed).unwrap(), recipe, "{name}");
        assert_eq!(parse(&printed).unwrap().to_toml(), printed);
        assert!(!text.contains("data ="));
        let plain = name.trim_end_matches(".toml");
        assert_eq!(Recipe::load(plain, &["data=some folder"]).unwrap(), recipe);
        let config = recipe.config(7).unwrap();
        config.check().unwrap();
        config.check_size(recipe.preprocessing().size).unwrap();
    }
}

#[test]
fn every_default_is_allowed_and_printed() {
    let recipe = parse("").unwrap();
    assert_eq!(recipe, Recipe::default());
    let printed = recipe.to_toml();
    for line in [
        "lr = 0.001",
        "warmup-lr = 1e-6",
        "clip-grad = \"none\"",
        "head-dims = []",
        "model = \"nano\"",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    // Every option has its meaning above it.
    let lines: Vec<&str> = printed.lines().collect();
    for pair in lines.windows(2) {
        if pair[1].contains(" = ") && !pair[1].starts_with('#') {
            assert!(pair[0].starts_with("# "), "{}", pair[1]);
        }
    }
}

#[test]
fn the_imagenet_recipe_is_the_papers() {
    let recipe = Recipe::load("imagenet-fec-small", &NONE).unwrap();
    assert_eq!(recipe.batch_size * recipe.grad_accum_steps, 1024);
    assert_eq!(recipe.schedule().total_epochs(), 310);
    let Colours::Rand(rand) = recipe.augmentation().colours else {
        panic!("no RandAugment");
    };
    assert_eq!(
        (rand.magnitude, rand.layers, rand.magnitude_std),
        (9.0, 2, 0.5)
    );
    assert_eq!(
        (recipe.mixup, recipe.cutmix, recipe.reprob, recipe.smoothing),
        (0.8, 1.0, 0.25, 0.1)
    );
    assert_eq!(
        (recipe.drop_path, recipe.weight_decay, recipe.lr),
        (0.1, 0.05, 1e-3)
    );
    assert_eq!(recipe.augmentation().fill, [124, 116, 104]);
}

#[test]
fn overrides_are_read_by_the_options_kind() {
    let recipe = Recipe::parse(
        "r.toml",
        "epochs = 3\nlr = 1\nlocality = 0.02",
        &[
            "epochs=20",
            "--lr=5e-4",
            "scale=0.5,1",
            "mean=[0.1, 0.2, 0.3]",
            "model=\"compact\"",
            "clip_grad=5",
            "data=/a b/c=d",
            "head-dims=24,24,48,48",
            "model-ema=true",
            "aa=none",
        ],
    )
    .unwrap();
    assert_eq!(recipe.epochs, 20);
    assert_eq!(recipe.lr, 5e-4);
    assert_eq!(recipe.scale, [0.5, 1.0]);
    assert_eq!(recipe.mean, [0.1, 0.2, 0.3]);
    assert_eq!(recipe.model, "compact");
    assert_eq!(recipe.clip_grad, Some(5.0));
    assert_eq!(recipe.data, "/a b/c=d");
    assert_eq!(recipe.locality, [0.02; 3]);
    assert!(recipe.model_ema);
    let config = recipe.config(3).unwrap();
    assert_eq!(config.stages.map(|s| s.head_dim), [24, 24, 48, 48]);
    let off = Recipe::parse("r.toml", "clip-grad = 2.0", &["clip-grad=none"]).unwrap();
    assert_eq!(off.clip_grad, None);
}

#[test]
fn ablations_reach_the_networks_configuration() {
    for (dispatch, expected) in [
        ("alpha-beta", Dispatch::AlphaBeta),
        ("alpha", Dispatch::Alpha),
        ("beta", Dispatch::Beta),
        ("plain", Dispatch::Plain),
    ] {
        let text = format!("dispatch = \"{dispatch}\"\nsimilarity = \"euclidean\"");
        let config = parse(&text).unwrap().config(2).unwrap();
        assert_eq!(
            (config.dispatch, config.similarity),
            (expected, Similarity::Euclidean)
        );
    }
}

#[test]
fn pools_start_in_the_nearest_epoch_and_before_the_end() {
    for (share, epochs, expected) in [
        (0.7, 180, 126),
        (0.695, 180, 125),
        (0.0, 9, 0),
        (0.99, 1, 0),
    ] {
        let recipe = parse(&format!("pool-start = {share}\nepochs = {epochs}")).unwrap();
        assert_eq!(recipe.pool_start_epoch(), expected, "{share} of {epochs}");
    }
}

#[test]
fn an_unknown_option_is_answered_with_the_nearest() {
    refused(
        "batchsize = 3",
        &[],
        "r.toml: unknown option 'batchsize'; did you mean 'batch-size'?",
    );
    refused("warmup_epoch = 3", &[], "did you mean 'warmup-epochs'?");
    refused(
        "",
        &["epoch=3"],
        "command line: unknown option 'epoch'; did you mean 'epochs'?",
    );
    refused(
        "zzz = 3",
        &[],
        "unknown option 'zzz'; a saved recipe.toml lists all options",
    );
    refused("[optimizer]\nlr = 1e-3", &[], "unknown option 'optimizer'");
}

#[test]
fn wrong_kinds_and_ranges_are_named_with_what_is_expected() {
    refused(
        "epochs = \"ten\"",
        &[],
        "r.toml: epochs is \"ten\", expected a whole number of at least 0",
    );
    refused("epochs = -1", &[], "epochs is -1");
    refused(
        "epochs = 0",
        &[],
        "epochs is 0, expected a whole number from 1 to 1000000",
    );
    refused("lr = nan", &[], "lr is nan, expected a number");
    refused("lr = 0", &[], "lr is 0.0, expected a number above 0");
    refused(
        "img-size = 100",
        &[],
        "img-size is 100, expected a multiple of 32 from 32 to 4096; the nearest is 96",
    );
    refused(
        "model = \"tiny\"",
        &[],
        "model is \"tiny\", expected one of nano",
    );
    refused("scale = [1.0, 0.5]", &[], "the smaller first");
    refused("scale = 0.5", &[], "expected two numbers");
    refused("mean = [0.5, 0.5]", &[], "expected three numbers");
    refused("aa = \"rand-m9-q4\"", &[], "it has the unknown part 'q4'");
    refused(
        "reprob = 1.5",
        &[],
        "reprob is 1.5, expected a number from 0 to 1",
    );
    refused("hflip = true", &[], "hflip is true, expected a number");
    refused("head-dims = [1, 2]", &[], "four whole numbers");
    refused(
        "similarity = \"dot\"\nlocality = 0.1",
        &[],
        "locality goes with similarity cosine alone",
    );
    refused(
        "pool-start = 1",
        &[],
        "pool-start is 1.0, expected a number from 0 to 0.99",
    );
    refused(
        "pool-gradient = \"colours\"\nlocality = [0.1, 0.0, 0.1]",
        &[],
        "need a locality above 0",
    );
    refused(
        "clip-grad = 0",
        &[],
        "clip-grad is 0.0, expected a number above 0",
    );
    refused(
        "device = \"cuda:x\"",
        &[],
        "expected auto, cpu, cuda, cuda:N, or several as in cuda:0,1",
    );
    refused("", &["epochs"], "'epochs' is no option; expected KEY=VALUE");
    refused("", &["epochs=1\nlr = 3"], "epochs is '1 lr = 3'");
    refused(
        "batch-size = 3\nbatch_size = 4",
        &[],
        "option 'batch_size' is given twice",
    );
    refused("epochs = \n", &[], "r.toml: line 1:");
    refused("lr = 1\nlr = 2", &[], "r.toml: line 2:");
}

#[test]
fn files_that_are_not_there_or_no_text_are_one_line() {
    let line = |name: &str| Recipe::load(name, &NONE).unwrap_err().to_string();
    let missing = line("foldr.toml");
    assert!(
        missing.contains("foldr.toml: no such recipe file"),
        "{missing}"
    );
    assert!(missing.contains("did you mean folder.toml?"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let folder = line(dir.path().to_str().unwrap());
    assert!(folder.contains("is a folder, expected a file"), "{folder}");
    let file = dir.path().join("r.toml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    let binary = line(file.to_str().unwrap());
    assert!(
        binary.contains("cannot be read") && !binary.contains('\n'),
        "{binary}"
    );
}

#[test]
fn learning_rates_are_timms() {
    let fixture: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/timm.json"]
        .iter()
        .collect();
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    let cases = expected["schedules"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let count = |key: &str| case[key].as_u64().unwrap_or(0);
        let rate = |key: &str| case[key].as_f64().unwrap();
        let schedule = Schedule {
            lr: rate("lr"),
            min_lr: rate("min_lr"),
            warmup_lr: rate("warmup_lr"),
            epochs: count("epochs"),
            warmup_epochs: count("warmup_epochs"),
            cooldown_epochs: count("cooldown_epochs"),
            warmup_prefix: case["warmup_prefix"] == true,
            on_updates: !case["updates"].is_null(),
        };
        assert_eq!(schedule.total_epochs(), count("total_epochs"), "{case}");
        for (t, theirs) in case["rates"].as_array().unwrap().iter().enumerate() {
            // By epochs: the same rate for all updates of an epoch.
            let steps = if schedule.on_updates {
                vec![(t as u64, count("updates"))]
            } else {
                vec![(t as u64 * 5, 5), (t as u64 * 5 + 4, 5)]
            };
            for (step, per_epoch) in steps {
                let ours = schedule.lr(step, per_epoch);
                let theirs = theirs.as_f64().unwrap();
                assert!(
                    (ours - theirs).abs() <= 1e-15,
                    "{t}: {ours} {theirs} {case}"
                );
            }
        }
    }
}
