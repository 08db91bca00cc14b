"""U8: bundles of former releases, as they lie on servers and devices, are read and installed still.

None is ever made anew; its private key is gone. Where the format changes, another is added.
"""

import base64
import zlib
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from updating import Device

from shared import bundles, lineage, params, updates
from shared.audit import Refused

# Of the first release that had them; a file, and nothing to try it out
FIRST_KEY = "MCowBQYDK2VwAyEA5S53VuGOZ8mrlHL7QRyxrHw5r06fQrdnLXnRh3e0dEk="
FIRST = (
    "eNrt1D1Lw0AAxvGMopO4OckhChLkcpdc2n4BB61fQS7NnUaaBJvWwdLdQRCc1UVwE3Rz9QMIujjoIgUFHQTBod08"
    "67uLUyvF57dcci/ckn9imURaZdXp5SxNrO6ghnDdzmj8HCn7XHudd6jrCmuMWj1Qy6qyYq63/qc60WklllVScGyS"
    "yFiRAglVnBKbZGqlppKSmeE2WVWVLEoTs7rKzZqOyiojhTqJ01CVOx/Py1sWrZntnjm7JJknzO6SZGHeE4znmAiZ"
    "S7X2AkfnuFBOKP1AB4HOMxHoMEd1oH3X53nh+TTkQmipmE8ajYYFXRO/959Fi9Yf9e98eX7rn6H/3tgsXg6s747y"
    "1vzjwE2yXbLPmuXbKXuE7F+x0zvneGP2/P7hYqe91eJzzaOJ4szB3vAkfWov8GT88PpkCAX1ef8f/+/u3fFb/5R6"
    "3/unvs85+u8FPs28QWQAAAAAAAAAAAAAAAAAAND3ngFrxoYn"
)

# Of the same format, whole: a graph of opset 17 that multiplies by 1.5, golden answers, provenance
WHOLE_KEY = "MCowBQYDK2VwAyEAoOc4KfpJhzHjSeiZXezb/DseYh3y90pJ734k7RqRm+8="
WHOLE = (
    "eNrtmLuLJEUcx3t0WYfW4HZYA5OjrUyZG6u669E1IMKBoZmBD2Sp515rP8bunvPWZSL/AhHhUlEQzETMDMRATEREwUwj"
    "s+NMzLW6Z3pubhWMnD2xPkE/vr/69a+b6e/8qroQZWZN085eb6oy+HeADopxv3dc3EPCku1xryOISRJEMNgDy6YVtSsf"
    "/D85B7aqC9GCOZqCUhQGzIE2RQWmoDFvLk2pTB+6aeomq0oXtVndtC5ss9w0YH4OTqtcm7J/gbrTJnvbpcRx7K5wQ8SE"
    "uhyOUqVjqrEyFElEOCZcamgQ4jSVnEKKNBbEDSKQK0ksV5YTqKh7EYjmFqymoKi0yWdVWd66V8Xl71RhOCE4ZtRKqzlJ"
    "FDSMqMRC09XRqbaaJlowqVKqWEJjLqSx7lhol2Y066os6uqmKYV77AsPhDjZKaWhwJDDWKYJ4QmSFFNGOISJlEq529DC"
    "3TqmlqcyZSaJ3TPhJEXKMgsJhBisVqsH4vcvBv832WlwSf5HO8cb/8eYev/vg98/+eKHr97/7rPf4sWdp+ry+8Mfj2+n"
    "1+6w5z/46cPo51+e/PT4nV8/F+8dvXv37sfPvvRR+MTRY6ej6cuzb27/0X794rePBp7/NDt/3sFl+T9J6EX/IxR7/++l"
    "/4dRBNoqN7XoW30EZxBNOzEXrev+ZyeFa/KR61mwVws3N6idKNdir4myectND5zyqjuNovN+6wIL0d5wKnimWOZttsjP"
    "wHQIyUqfudAw1CnlspCmdlo8Ixt1tR2+LnF/gmvVeqnczCVKZmybEg7b18JV6P39j/1/O6sKLs3/iLL7/Q8ZI8T7fx+M"
    "x5Ng/kZ4NTxc+y88tEK1VT15ZLDXwy8s88l4cPDTk/HoyggcBMGXz13fjH3leMiehOF4PJochA+NR/LxcLjGrnz9IAyu"
    "HHnjPSBcWO9cTv+Hf1n/M4a9//fW/9fr/miz8O+U06w9UVVRZF17BVgjFUt2L6Szuu3atxV5Y3p1kS1MnpX9ZVK35E4E"
    "UUwjGXNM13latKKLQsk1VdjENhUoIZur9n3oZPuVIRo+M3Qxacq2Gu5v3geubWoA3+Q9Ho/H4/F4PB6Px+PxeDwej+fv"
    "+RMiC2pb"
)
PREDICTOR = """
import numpy
import onnxruntime


def load(folder):
    return onnxruntime.InferenceSession(folder / "model.onnx")


def answer(session, number):
    return float(session.run(None, {"number": numpy.float32([number])})[0][0])
"""


def frozen(folder: Path, content: str, key: str) -> tuple[Path, Path]:
    """Files with the bundle and its public key."""
    bundle, public = folder / "older.bundle", folder / "older.pub"
    bundle.write_bytes(zlib.decompress(base64.b64decode(content)))
    public.write_text(f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    return bundle, public


def multiplying(factor: float) -> onnx.ModelProto:
    """A graph as this release's library writes it."""
    number, product = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
        for name in ("number", "product")
    )
    constant = helper.make_tensor("factor", onnx.TensorProto.FLOAT, [1], [factor])
    node = helper.make_node("Mul", ["number", "factor"], ["product"])
    graph = helper.make_graph([node], "multiply", [number], [product], [constant])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


@pytest.fixture
def device(tmp_path: Path, document: dict[str, Any]) -> Device:
    """One whose packaged model is a graph that multiplies by 3."""
    made = Device(tmp_path / "device", document, memory_mb=500, latency_p95_ms=5000)
    service = made.service / "service.py"
    example = "lambda model: predictor.answer(model, 1.0)"
    service.write_text(service.read_text().replace("lambda model: model", example))
    (made.service / "predictor.py").write_text(PREDICTOR)
    onnx.save(multiplying(3.0), made.packaged / "model.onnx")
    return made


def test_u8_a_bundle_of_the_first_release_is_still_read(tmp_path: Path) -> None:
    bundle, public = frozen(tmp_path, FIRST, FIRST_KEY)
    found = bundles.read(bundle, [public], tmp_path)
    assert (found.name, found.sequence, found.version) == ("demo", 3, "v3")
    assert (tmp_path / "model.json").read_text() == "3.25\n"


def test_u8_a_whole_bundle_is_still_installed(device: Device) -> None:
    """By then it has answered as it did where it was signed."""
    bundle, public = frozen(device.folder, WHOLE, WHOLE_KEY)
    with pytest.raises(Refused, match="not signed by a known key"):
        device.install(bundle)
    assert updates.install(bundle, device.live, [public], device.service) == "first"
    place = lineage.serving(device.live)
    assert place.name == bundles.read(bundle, [public]).folder and bundles.intact(place)
    (asked,) = params.read_json(place / "golden.json")["answers"]
    assert asked["answer"]["product"] == 1.5 * asked["body"]["number"]


def test_u8_a_whole_bundle_that_would_answer_otherwise_is_refused(device: Device) -> None:
    bundle, public = frozen(device.folder, WHOLE, WHOLE_KEY)
    predictor = device.service / "predictor.py"
    predictor.write_text(PREDICTOR.replace("[number]", "[number + 1]"))
    with pytest.raises(Refused, match=r"self-test: /multiply answers .*5\.25"):
        updates.install(bundle, device.live, [public], device.service)
