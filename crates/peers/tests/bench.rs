//! `scripts/bench` in small: it fails where a program does not do what it measures. How fast that was is not asked here.
#![cfg(target_os = "linux")]

use std::fs;

use sealift_peers::Lab;
use sealift_peers::command::call;
use sealift_peers::lab::workspace;
use serde_json::Value;

#[test]
fn every_case_is_measured() {
    let programs = ["root", "docker-registry", "skopeo", "time", "unshare"];
    let Some(lab) = Lab::needing(&programs) else {
        return;
    };
    let only = ["registry", "--only", "loopback"];
    let result = lab.measured(
        "bench",
        &[&only[..], &["--size", "1", "--rounds", "1"]].concat(),
    );
    let measured: Vec<String> = rows(&result, "rows")
        .map(|row| {
            assert!(row["peak_rss"].as_u64().unwrap() > 0, "{row}");
            words(row, &["image", "operation", "program"])
        })
        .collect();
    let mut expected = Vec::new();
    for image in ["one", "twenty", "small"] {
        let cases = [
            "push sealift",
            "push skopeo",
            "seal sealift",
            "pull sealift",
            "pull skopeo",
        ];
        expected.extend(cases.map(|case| format!("{image} {case}")));
    }
    assert_eq!(measured, expected);
}

#[test]
fn every_job_on_layers_leaves_the_layers_that_were_sealed() {
    let Some(lab) = Lab::needing(&["openssl", "skopeo", "age", "time"]) else {
        return;
    };
    let result = lab.measured("bench", &["--size", "1", "--rounds", "1"]);
    let mut measured = Vec::new();
    for (image, layers) in [("one", 1), ("four", 4)] {
        let jobs: Vec<&Value> = rows(&result, "jobs")
            .filter(|job| job["family"].as_str().unwrap().starts_with(image))
            // Not of those that are there on some machines only.
            .filter(|job| !["buildah", "rage"].contains(&job["program"].as_str().unwrap()))
            .collect();
        let sealed = &jobs[0]["checked"];
        assert_eq!(sealed.as_array().unwrap().len(), layers, "{sealed}");
        for job in jobs {
            assert_eq!(&job["checked"], sealed, "{job}");
            assert!(job["peak_rss"].as_u64().unwrap() > 0, "{job}");
            measured.push(words(job, &["family", "job"]));
        }
    }
    let expected = [
        "one seal sha",
        "one seal seal",
        "one seal seal trusted",
        "one seal seal ocicrypt",
        "one seal seal ocicrypt trusted",
        "one seal skopeo seal",
        "one seal age seal",
        "one seal openssl ctr",
        "one open sha",
        "one open open",
        "one open open ocicrypt",
        "one open skopeo open",
        "one open age open",
        "one open decoder",
        "one open decoder between pipes",
        "one open pipe",
        "four seal sha",
        "four seal seal",
        "four seal seal trusted",
        "four seal skopeo seal",
        "four open sha",
        "four open open",
    ];
    assert_eq!(measured, expected);
    for row in rows(&result, "rows") {
        let is_measured = row["verdict"] != "not measured";
        assert_eq!(
            row["values"].as_array().unwrap().len(),
            usize::from(is_measured),
            "{row}"
        );
        // Only rage may be missing.
        assert!(
            is_measured || row["than"].as_str().unwrap().starts_with("rage"),
            "{row}"
        );
    }
    let barred = |measure| {
        rows(&result, "rows")
            .filter(|row| row["measure"] == measure && row["bar"].is_number())
            .count()
    };
    let measures = [
        "times as fast",
        "GiB/s",
        "ms to first octet",
        "ms to exit",
        "MiB of memory",
    ];
    assert_eq!(measures.map(barred), [15, 1, 1, 1, 10]);
    let chart = fs::read_to_string(lab.path("result.svg")).unwrap();
    assert!(chart.starts_with("<svg "), "{chart}");
}

#[test]
fn every_growing_image_comes_back() {
    let Some(lab) = Lab::needing(&["openssl", "time"]) else {
        return;
    };
    // Too little to compare times: one case of each series.
    let result = lab.measured("bench", &["cost", "--most", "8", "--rounds", "1"]);
    assert_eq!(result["compared"], 0);
    let cases = [
        "size 1 × 1 seal",
        "size 1 × 1 open",
        "count 1 × 8 seal",
        "count 1 × 8 open",
    ];
    let measured: Vec<String> = rows(&result, "rows")
        .map(|row| {
            assert_eq!(row["checked"].as_str().unwrap().len(), 64, "{row}");
            let (series, job) = (
                row["series"].as_str().unwrap(),
                row["job"].as_str().unwrap(),
            );
            format!("{series} {} × {} {job}", row["layers"], row["layer_mib"])
        })
        .collect();
    assert_eq!(measured, cases);
}

#[test]
fn every_image_comes_back_from_a_disk() {
    let Some(lab) = Lab::needing(&["openssl", "time"]) else {
        return;
    };
    let result = lab.measured("bench", &["storage", "--size", "1", "--rounds", "1"]);
    let jobs = ["copy", "seal", "seal trusted", "open"];
    let expected: Vec<String> = ["one", "four"]
        .iter()
        .flat_map(|image| jobs.map(|job| format!("{image} {job}")))
        .collect();
    let measured: Vec<String> = rows(&result, "rows")
        .map(|row| {
            assert_eq!(row["checked"].as_str().unwrap().len(), 64, "{row}");
            // A copy loses nothing beside itself.
            assert_eq!(row["loss"].is_number(), row["job"] != "copy", "{row}");
            words(row, &["image", "job"])
        })
        .collect();
    assert_eq!(measured, expected);
}

#[test]
fn one_file_comes_out_of_a_large_layer() {
    let Some(lab) = Lab::needing(&["docker-registry", "time"]) else {
        return;
    };
    let small = ["seek", "--size", "8", "--files", "300", "--rounds", "1"];
    let result = lab.measured("bench", &small);
    let jobs: Vec<&Value> = rows(&result, "rows").collect();
    assert_eq!(
        (jobs[0]["job"].as_str(), jobs[1]["job"].as_str()),
        (Some("cat"), Some("decrypt"))
    );
    let share = |row: &Value| row["share"].as_f64().unwrap();
    assert!(share(jobs[0]) < 0.05, "{result}");
    assert!(share(jobs[1]) >= 1.0, "{result}");
}

#[test]
fn a_miss_counts_where_it_is_more_than_noise() {
    let Some(_) = Lab::needing(&[]) else {
        return;
    };
    let judge = workspace().join("scripts/lib/judge.py");
    call(
        "/usr/bin/python3",
        &["-m".as_ref(), "doctest".as_ref(), judge.as_os_str()],
    );
}

fn rows<'a>(result: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    result[name].as_array().into_iter().flatten()
}

/// Some members of a row in one line.
fn words(row: &Value, names: &[&str]) -> String {
    let texts = names.iter().filter_map(|name| row[name].as_str());
    texts.collect::<Vec<_>>().join(" ")
}
