"""Documents of a release are valid by the schemas of others, and say what its records say."""

from __future__ import annotations

import json
import shutil
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from huggingface_hub import ModelCard, ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from referencing import Registry, Resource

from ayllu.cli.main import main
from ayllu.data.archive import Archive, members
from ayllu.lab.error import UserError
from ayllu.release.build import build_release
from ayllu.release.documents.hub import evaluated, model_index
from ayllu.release.documents.openness import openness
from ayllu.release.documents.spdx import decimal
from ayllu.release.documents.terms import duties, together
from ayllu.release.documents.write import write_documents
from ayllu.release.licences import PERMITTING
from ayllu.release.pages import card
from ayllu.release.reference import Pages
from ayllu.release.sign import public_pem
from ayllu.release.verify import verify_release
from support.archives import fetched
from support.parts import need_module
from support.release import edit, list_again, seal_again, sign_again

CYCLONEDX = Archive(
    registry="pypi",
    name="cyclonedx-python-lib",
    version="11.12.0",
    filename="cyclonedx_python_lib-11.12.0-py3-none-any.whl",
    sha256="0e807521a921a5c3cb8ce1153f8a61d29eedfe76a46aac2796b7c6b573391a54",
)
SCHEMAS = "cyclonedx/schema/_res/"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The published schema of CycloneDX 1.7 with those that it refers to."""
    found = {
        name.removeprefix(SCHEMAS): json.loads(file.read())
        for name, file in members(fetched(CYCLONEDX), lambda n: n.startswith(SCHEMAS) and n.endswith(".schema.json"))
    }
    registry: Registry[Any] = Registry().with_resources(
        [
            (uri, Resource.from_contents(one))
            for name, one in found.items()
            for uri in (one["$id"], f"http://cyclonedx.org/schema/{name}")
        ]
    )
    return jsonschema.Draft7Validator(found["bom-1.7.SNAPSHOT.schema.json"], registry=registry)


def test_the_bill_of_materials_is_valid_and_says_what_the_records_say(built, tmp_path, schema) -> None:
    text = write_documents(built.folder, tmp_path / "documents")["mlbom.cdx.json"]
    assert (tmp_path / "documents" / "mlbom.cdx.json").read_text() == text
    found = json.loads(text)
    assert [error.message for error in schema.iter_errors(found)] == []
    component = found["metadata"]["component"]
    scores = json.loads((built.folder / "scores.json").read_text())
    metrics = {m["slice"]: m for m in component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    told = scores["sets"]["hellaswag"][scores["sets"]["hellaswag"]["headline"]]
    assert float(metrics["hellaswag"]["value"]) == told["value"]
    assert float(metrics["hellaswag"]["confidenceInterval"]["upperBound"]) == told["high"]
    sources = json.loads((built.folder / "sources.json").read_text())
    names = [source["name"] for kind in ("corpus", "dialogues") for source in sources[kind]]
    assert [one["name"] for one in found["components"]] == names
    assert write_documents(built.folder, tmp_path / "again")["mlbom.cdx.json"] == text, (
        "the same release, the same bill"
    )


def test_the_class_of_openness_is_computed_from_what_is_there(built) -> None:
    manifest = json.loads((built.folder / "manifest.json").read_text())
    records = {"sources.json": json.loads((built.folder / "sources.json").read_text())}
    found = openness(manifest, records)
    assert found["class"] == "III" and found["missing"]["II"] == ["evaluation data"]
    without = {path: entry for path, entry in manifest["files"].items() if path != "TECHNICAL_REPORT.md"}
    older = openness(manifest | {"files": without}, records)
    assert older["class"] is None and older["missing"]["III"] == ["technical report"]
    less = manifest | {"files": {k: v for k, v in manifest["files"].items() if k != "items.jsonl"}}
    assert "evaluation results" in openness(less, records)["missing"]["III"]
    said = json.loads((built.folder / "records.json").read_text())["openness"]
    assert (said["class"], said["next"], said["lacking"]) == ("III", "II", ["evaluation data"])
    page = (built.folder / "README.md").read_text()
    assert "By the Model Openness Framework 1.0" in page and "reaches class III; class II also asks" in page


def test_a_card_without_a_class_of_openness_is_that_of_an_older_release(release) -> None:
    """One whose records say nothing of it still verifies; one whose card leaves out what they say does not."""
    edit(release / "records.json", lambda records: records["openness"].update({"class": "II"}))
    seal_again(release)
    assert [str(problem) for problem in verify_release(release).problems] == [
        "records.json says another class of openness than the release has"
    ]
    edit(release / "records.json", lambda records: records.pop("openness"))
    lines = (release / "README.md").read_text().split("\n")
    start, end = lines.index("## Openness"), lines.index("## Verify")
    (release / "README.md").write_text("\n".join(lines[:start] + lines[end:]))
    edit(
        release / "references.json",
        lambda found: found.update(
            {
                "README.md": [
                    one | {"line": one["line"] - (end - start if one["line"] > end else 0)}
                    for one in found["README.md"]
                    if not start < one["line"] <= end
                ]
            }
        ),
    )
    seal_again(release)
    assert verify_release(release).problems == ()


def test_a_release_that_was_changed_has_no_documents(built, tmp_path, capsys) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(built.folder, folder)
    (folder / "scores.json").write_text((folder / "scores.json").read_text() + " ")
    with pytest.raises(UserError, match="is not verified"):
        write_documents(folder, tmp_path / "documents")
    assert not (tmp_path / "documents").exists()
    with pytest.raises(UserError, match="inside the release"):
        write_documents(built.folder, built.folder / "documents")
    with pytest.raises(SystemExit) as end:
        main(["release", "documents", str(built.folder), "--out", str(tmp_path / "out"), "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["openness"]["class"] == "III"
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"mlbom.cdx.json", "openness.json", "spdx.json"}


def test_a_release_holds_its_documents_and_they_follow_from_its_records(built, tmp_path) -> None:
    out = write_documents(built.folder, tmp_path / "documents")
    inside = {path.name: path.read_text() for path in (built.folder / "documents").iterdir()}
    assert inside == out
    assert len(inside) == 8


def test_the_bill_survives_a_round_trip_field_by_field(built, schema) -> None:
    """Its model card too, which cyclonedx-python-lib drops without a word."""
    text = (built.folder / "documents" / "mlbom.cdx.json").read_text()
    bill, records = json.loads(text), json.loads((built.folder / "records.json").read_text())
    assert [error.message for error in schema.iter_errors(bill)] == []
    stated = {one["name"]: one["value"] for one in bill["metadata"]["component"]["modelCard"]["properties"]}
    assert stated == {f"ayllu:model:{name}": str(value) for name, value in records["model"].items()}
    assert bill["metadata"]["timestamp"] == records["release"]["date"]


def test_the_spdx_package_is_read_by_its_own_library_and_lacks_no_required_field(built) -> None:
    model = need_module("spdx_python_model", "spdx-python-model").v3_0_1
    objects = model.SHACLObjectSet()
    with (built.folder / "documents" / "spdx.json").open("rb") as file:
        model.JSONLDDeserializer().read(file, objects)
    assert objects.missing_ids == set()
    (package,) = objects.foreach_type("ai_AIPackage")
    records = json.loads((built.folder / "records.json").read_text())
    assert (package.name, package.software_packageVersion) == ("cria", "0.1.0")
    for field in ("releaseTime", "suppliedBy", "software_downloadLocation", "software_primaryPurpose"):
        assert getattr(package, field), f"the specification requires {field}, and the library does not ask for it"
    settings = {entry.key: entry.value for entry in package.ai_hyperparameter}
    assert settings["model parameters"] == str(records["model"]["parameters"])
    assert settings["model norm_epsilon"] == "0.00001"
    data = {one.name: one.dataset_datasetSize for one in objects.foreach_type("dataset_DatasetPackage")}
    assert data["everyday-english"] == 33_000_123 and data["everyday-chat"] is None
    trained = [one for one in objects.foreach_type("Relationship") if one.relationshipType.endswith("trainedOn")]
    assert [len(one.to) for one in trained] == [3]


@pytest.mark.parametrize("value", [5e-05, 1e-5, 1.5e-10, 12.5, 3, True])
def test_a_number_in_spdx_has_no_exponent(value: Any) -> None:
    text = decimal(value)
    assert "e" not in text or value is True
    assert value is True or float(text) == value


def test_the_data_card_is_accepted_and_its_table_read_as_it_is(built) -> None:
    croissant = need_module("mlcroissant", "mlcroissant")
    data = croissant.Dataset(jsonld=str(built.folder / "documents" / "croissant.json"))
    assert not data.metadata.ctx.issues.errors and not data.metadata.ctx.issues.warnings
    assert data.metadata.ctx.conforms_to.value.endswith("/1.1")
    rows = list(data.records("sources"))
    lines = [json.loads(line) for line in (built.folder / "documents" / "sources.jsonl").read_text().splitlines()]
    for row, line in zip(rows, lines, strict=True):
        for field, value in line.items():
            found = row[f"sources/{field}"]
            assert (found.decode() if isinstance(found, bytes) else found) == value


def test_the_data_card_notices_another_table(built, tmp_path) -> None:
    croissant = need_module("mlcroissant", "mlcroissant")
    folder = tmp_path / "documents"
    shutil.copytree(built.folder / "documents", folder)
    (folder / "sources.jsonl").write_text((folder / "sources.jsonl").read_text().replace("MIT", "GPL"))
    with pytest.raises(Exception, match=r"Download\(sources"):
        list(croissant.Dataset(jsonld=str(folder / "croissant.json")).records("sources"))


def test_the_hub_reads_every_score_with_its_data_set_and_revision(built) -> None:
    card = ModelCard.load(built.folder / "README.md")
    scores = json.loads((built.folder / "scores.json").read_text())["sets"]
    found = {one.dataset_config: one for one in card.data.eval_results}
    assert found["ARC-Easy"].dataset_type == "allenai/ai2_arc"
    assert found["ARC-Easy"].metric_value == scores["arc-easy"][scores["arc-easy"]["headline"]]["value"]
    assert all(one.dataset_revision.startswith("sha256:") and one.dataset_args["items"] == 60 for one in found.values())
    entries = parse_eval_result_entries(yaml.safe_load((built.folder / "documents" / "eval_results.yaml").read_text()))
    assert [entry.value for entry in entries] == [one.metric_value for one in card.data.eval_results]


def test_two_results_that_differ_in_their_arguments_alone_are_both_read_back() -> None:
    """The hub's reader gives both the arguments of the first where task, set, part and revision agree."""
    entry = {"title": "HellaSwag", "headline": "accuracy", "accuracy": {"value": 0.25}, "part": "validation"}
    sets = {name: {**entry, "items": items} for name, items in (("hellaswag", 10), ("hellaswag:5-shot", 20))}
    scores = {"about": {"items_digest": "ab"}, "sets": sets}
    records = {"scores.json": scores, "records.json": {"release": {"name": "x"}, "evaluation": evaluated(scores)}}
    lines = list(model_index(Pages(records), "records.json", "scores.json"))
    (index,) = yaml.safe_load("\n".join(lines))["model-index"]
    _, results = model_index_to_eval_results([index])
    back = ModelCardData(model_name="x", eval_results=results).to_dict()
    _, again = model_index_to_eval_results(back["model-index"])
    assert [one.dataset_args["items"] for one in again] == [10, 20]


def test_duties_are_those_of_the_licences_and_a_forbidding_one_is_said() -> None:
    words = {"a": "CC0-1.0", "b": "MIT", "c": "CC-BY-SA-4.0", "d": "CC-BY-NC-4.0", "e": "MIT AND CC0-1.0"}
    origins = {"corpus": [{"name": name, "licence": licence} for name, licence in words.items()], "dialogues": []}
    assert duties(origins) == {"nothing": ["a"], "credit": ["b", "e"], "alike": ["c"], "objection": ["d"]}
    told = list(together(origins, "Apache-2.0", PERMITTING))
    assert "`b` and `e` names their authors" in told[1] and "`c`, changed or not" in told[2] and "`a`" in told[3]


def test_documents_of_a_format_that_is_not_known_are_not_taken_for_right(release) -> None:
    edit(release / "manifest.json", lambda manifest: manifest.update(documents=99))
    sign_again(release, key := ec.generate_private_key(ec.SECP256R1()))
    (release / "release-key.pub").write_bytes(public_pem(key.public_key()))
    edit(release / "manifest.json", lambda m: m["files"].pop("release-key.pub"))
    list_again(release, "release-key.pub")
    (release / "model.sig").unlink()
    sign_again(release, key)
    assert "format 99" in str(verify_release(release).problems[0])


def test_a_digit_in_the_card_that_no_record_backs_fails_the_build(given, tmp_path, monkeypatch) -> None:
    page = card.model_card
    monkeypatch.setattr(card, "model_card", lambda *a, **k: page(*a, **k) + "\nBetter than 97 others.\n")
    with pytest.raises(UserError, match=r"gate “card”: README.md line .*97 has no reference"):
        build_release(tmp_path / "release", **given)
    assert not list((tmp_path / "release").iterdir())
