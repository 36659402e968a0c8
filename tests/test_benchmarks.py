"""The benchmark of engines runs on today's stage `train`."""

from __future__ import annotations

from tests.benchmarks import engine

TINY = "tests/benchmarks/tiny.json"


def test_our_engine_is_timed_by_the_stage_itself(tmp_path):
    (tmp_path / "work").mkdir()
    engine.write_model(TINY, tmp_path / "model")
    vocabulary = engine.read_architecture(TINY).config["vocab_size"]
    job = {
        "model": str(tmp_path / "model"),
        "batch": 4,
        "steps": 6,
        "warmup": 2,
        "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "target_modules": "all-linear"},
        "learning_rate": 5e-4,
        "rows": engine.rows_of("short rows (quotes)", 48, vocabulary),
    }
    found = engine.by_us(job, tmp_path / "work", "auto")
    assert found["tokens_per_s"] > 0
    assert found["peak_memory_bytes"] > 0
