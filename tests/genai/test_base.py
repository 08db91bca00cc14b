"""The base model: a local folder as it lies, and nothing from the hub unless that is wished."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import base
import pytest
import train
import yaml
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

GENAI = Path(base.__file__).parent
NAME = "someone/some-model"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that are asked of the hub, which gives an empty folder for each."""
    found: list[str] = []

    def fetch(name: str, place: Path) -> None:
        found.append(name)
        place.mkdir()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "fetch", fetch)
    return found


def folder(name: Any, hub: bool) -> Path:
    return base.folder(base.ModelParams(base=str(name), hub=hub))


@pytest.mark.parametrize("name", [NAME, "missing/folder", "/missing"])
def test_a_name_on_the_hub_is_refused_unless_that_is_wished(name: str, fetched: list[str]) -> None:
    with pytest.raises(SystemExit, match=rf"model\.base: {name} .* needs `model\.hub: true`"):
        folder(name, hub=False)
    assert fetched == [] and not Path(".base").exists()


def test_a_model_of_the_hub_is_fetched_once(fetched: list[str]) -> None:
    place = folder(NAME, hub=True)
    assert place == folder(NAME, hub=True) == Path(".base/someone-some-model")
    assert fetched == [NAME]
    with pytest.raises(SystemExit, match=r"needs `model\.hub: true`"):
        folder(NAME, hub=False)  # also when it is there from a run before


def test_a_fetch_that_is_cut_off_leaves_no_model(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(name: str, place: Path) -> None:
        place.mkdir()
        raise OSError("no network")

    with monkeypatch.context() as change:
        change.setattr(base, "fetch", cut)
        with pytest.raises(OSError, match="no network"):
            folder(NAME, hub=True)
    assert folder(NAME, hub=True).exists() and fetched == [NAME], "asked again"


def test_a_local_folder_is_used_where_it_lies(fetched: list[str]) -> None:
    Path("here").mkdir()
    Path("here/config.json").write_text("{}")
    assert folder("here", hub=False) == folder("here", hub=True) == Path("here")
    assert fetched == []


def test_a_stage_says_so_before_it_does_anything(fetched: list[str]) -> None:
    values = yaml.safe_load((GENAI / "params.yaml").read_text())
    values["model"] = {"base": NAME, "hub": False}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit, match=r"needs `model\.hub: true`"):
        train.main()
    assert fetched == [] and not Path("models").exists()


@pytest.fixture
def with_template(packaged_tokenizer: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Saves the packaged model's tokenizer with another chat template; gives its folder."""

    def save(template: str) -> Path:
        packaged_tokenizer.chat_template = template
        packaged_tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return save


@pytest.fixture
def packaged_tokenizer(base_model: Path) -> Any:
    return base.tokenizer(base_model)


def test_a_chat_template_without_a_system_message_is_refused(
    with_template: Callable[[str], Path],
) -> None:
    wrong = "{{ raise_exception('System role not supported') }}"
    turns = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    template = "{% if messages[0]['role'] == 'system' %}" + wrong + "{% endif %}" + turns
    told = r"takes no system message \(System role not supported\); use another base model"
    with pytest.raises(SystemExit, match=told):
        base.tokenizer(with_template(template))
    assert base.tokenizer(with_template(turns)).chat_template == turns


def test_a_tokenizer_that_begins_each_piece_with_a_space_is_refused(tmp_path: Path) -> None:
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(vocab_size=50, special_tokens=["<unk>"], show_progress=False)
    pieces.train_from_iterator(['{"a": "x"}'] * 50, trainer)
    spaced = PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>")
    spaced.chat_template = "{{ messages[0]['content'] }}"
    spaced.save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="begins a piece with a space"):
        base.tokenizer(tmp_path)
