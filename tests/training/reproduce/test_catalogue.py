"""The rows: every system of the paper with its number, and nothing that cannot be measured or found."""

import dataclasses
from pathlib import Path

import pytest

from training.config import RunConfig
from training.reproduce.catalogue.figures import IMAGES, POINTS, SIZES
from training.reproduce.catalogue.order import ROWS
from training.reproduce.jobs.kmeans import KMeansFinal
from training.reproduce.jobs.sca import FinalRun
from training.reproduce.rows import UNAVAILABLE, Difference, FactOf, Row
from training.reproduce.store import settings_of, slug

BY_NAME = {row.name: row for row in ROWS}
PAPER = {
    "table 1": [1.38, 0.84, 0.82, 0.64, 1.15, 0.64, 0.48],
    "table 2": [65.3, 71.0, 76.7, 78.3, 78.9, 77.9, 72.7, 78.1],
    "table 3": [7.2, 6.5, 5.0, 2.7, 6.6, 4.7],
}


def final(name: str) -> RunConfig:
    job = BY_NAME[name].job
    assert isinstance(job, FinalRun)
    return job.config


@pytest.mark.parametrize("table", sorted(PAPER))
def test_every_system_of_the_papers_tables_has_its_row_and_number(table: str) -> None:
    assert [row.paper for row in ROWS if row.section == table] == PAPER[table]


def test_every_row_has_a_name_and_a_file_of_its_own() -> None:
    assert len(BY_NAME) == len(ROWS) == len({slug(row.name) for row in ROWS})
    assert all(not set(row.name) & set("*?[]'\"/") for row in ROWS)  # it is a pattern and a shell word as it stands


def test_rows_that_follow_from_others_name_rows_that_are_measured() -> None:
    for row in ROWS:
        if isinstance(row.source, Difference):
            assert BY_NAME[row.source.of].job and BY_NAME[row.source.minus].job, row.name
        if isinstance(row.source, FactOf):
            assert BY_NAME[row.source.row].job, row.name


def test_no_two_rows_read_the_test_set_with_the_same_job() -> None:
    jobs = [str(settings_of(row.job)) for row in ROWS if row.job and row.job.split == "test"]
    assert len(jobs) == len(set(jobs))


def test_every_job_says_how_long_it_takes() -> None:
    for row in ROWS:
        if row.job:
            assert 1 < row.job.expected_seconds() < 24 * 3600, row.name


def test_choices_are_made_on_held_out_images() -> None:
    choices = [row for row in ROWS if row.section == "choices"]
    assert choices and all(row.job and row.job.split == "validation" for row in choices)
    questions = {row.system.split(":")[0] for row in choices}
    used = [row.system.split(":")[0] for row in choices if row.system.endswith("(used)")]
    assert sorted(used) == sorted(questions)  # one answer each


@pytest.mark.parametrize(
    ("row", "maps", "pooling"),
    [
        ("mnist shallow 16", [16], [(5, 3)]),
        ("mnist shallow 128", [128], [(5, 3)]),
        ("mnist deep 128+2048", [128, 2048], [(5, 3), (3, 2)]),
        ("cifar10 shallow 512", [512], [(5, 4)]),
        ("cifar10 deep 512+4096", [512, 4096], [(5, 4), (3, 2)]),
        ("norb shallow 128", [128], [(6, 4)]),
        ("norb deep 128+2048", [128, 2048], [(6, 4), (3, 2)]),
    ],
)
def test_the_tables_networks_are_the_papers(row: str, maps: list[int], pooling: list[tuple[int, int]]) -> None:
    config = final(row)
    assert [layer.maps for layer in config.layers] == maps
    assert [(layer.pool_width, layer.pool_stride) for layer in config.layers] == pooling
    assert config.paper_value == BY_NAME[row].paper
    assert BY_NAME[row].unit == f"{config.metric} %"


def test_k_means_is_the_published_system() -> None:
    job = BY_NAME["cifar10 triangle k-means 1600"].job
    assert isinstance(job, KMeansFinal)
    assert (job.dataset, job.maps, job.patch, job.whiten) == ("cifar10", 1600, 6, True)


def test_figure_1c_has_all_sizes_of_all_systems_on_raw_and_whitened_images() -> None:
    for system in ("sca", "k-means", "supervised"):
        for images in IMAGES:
            maps = {point.maps for point in POINTS if (point.system, point.images) == (system, images)}
            assert maps >= {8, 16, 32, 64, 128, 256, 512}
    assert all(BY_NAME[point.row].job for point in POINTS)


def test_supervised_nets_have_the_architecture_that_they_are_compared_with() -> None:
    for maps in SIZES:
        ours, theirs = (BY_NAME[f"figure 1c {system} raw {maps}"].job for system in ("sca", "supervised"))
        assert ours and theirs
        assert settings_of(ours)["config"] == settings_of(theirs)["config"]


def test_what_cannot_be_had_says_so_until_it_can() -> None:
    for name in ("norb shallow 128", "norb deep 128+2048", "figure 5 raw", "figure 5 whitened"):
        assert BY_NAME[name].absence == UNAVAILABLE
    assert BY_NAME["mnist shallow 16"].absence == "not yet measured"
    assert BY_NAME["norb deep belief net"].absence == "published number only"


def test_a_changed_setting_is_another_job() -> None:
    config = final("mnist shallow 16")
    layer = dataclasses.replace(config.layers[0], learning_rate=1.0)
    assert settings_of(FinalRun(config)) == settings_of(BY_NAME["mnist shallow 16"].job or FinalRun(config))
    assert settings_of(FinalRun(dataclasses.replace(config, layers=(layer,)))) != settings_of(FinalRun(config))


def test_no_row_names_a_path_of_a_machine() -> None:
    assert not [row.name for row in ROWS if str(Path.home()) in repr(row)]


def rows_of(section: str) -> list[Row]:
    return [row for row in ROWS if row.section == section]


def test_every_claim_of_the_text_has_a_row() -> None:
    text = " ".join(row.name for row in rows_of("claims"))
    for words in (
        "top-2",
        "largest-overall",
        "tied",
        "sparse minus soft",
        "dead maps 512+4096",
        "deeper 128+2048",
        "deeper 2048 minus shallow",
    ):
        assert words in text


def test_few_labels_are_measured_beside_pixels_and_the_supervised_net() -> None:
    names = {row.name for row in rows_of("labels")}
    for dataset in ("mnist", "cifar10"):
        for count in (10, 100, 1000):
            assert {f"labels {dataset} {count} {what}" for what in ("sca", "pixels", "supervised")} <= names
