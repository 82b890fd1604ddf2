"""Unusual requests that are right are answered."""

import base64
import io
import json

import numpy as np
from PIL import Image

from tests.conftest import TestClient
from tests.pictures import encode, pixels, png
from tests.service.test_intake import FORM, JSON, NPY, PNG, npy_header, problem


def test_bad_base64_is_skipped_among_other_images(client: TestClient) -> None:
    texts = [base64.b64encode(png()).decode(), "%%%", base64.b64encode(b"hi").decode(), None]
    answer = client.post("/predict?on_error=skip", content=json.dumps({"images": texts}), headers=JSON)
    assert answer.status_code == 200 and answer.json()["indices"] == [0]
    codes = [(error["index"], error["code"]) for error in answer.json()["errors"]]
    assert codes == [(1, "bad-base64"), (2, "unsupported-type"), (3, "bad-base64")]
    nothing_left = client.post("/predict?on_error=skip", content=b'{"images": ["%%%", "aGk="]}', headers=JSON)
    assert nothing_left.status_code == 400 and len(nothing_left.json()["errors"]) == 2


def test_what_comes_before_the_first_boundary_is_for_nobody(client: TestClient) -> None:
    head = b'--cut\r\nContent-Disposition: form-data; name="images"\r\n\r\n'
    part = head + png() + b"\r\n--cut--\r\n"
    plain = client.post("/features", content=part, headers=FORM)
    assert plain.status_code == 200
    for preamble in (b"\r\n", b"This is a message in parts.\r\n", b"no --cut yet\r\n\r\n"):
        assert client.post("/features", content=preamble + part, headers=FORM).json() == plain.json()
    problem(client, 400, b"--cut is not at a line's start" + head, FORM)


def test_a_field_in_which_no_file_was_chosen_is_no_image(client: TestClient) -> None:
    unused = b'--cut\r\nContent-Disposition: form-data; name="images"; filename=""\r\n\r\n\r\n'
    part = b'--cut\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + png() + b"\r\n"
    alone = client.post("/features", content=part + b"--cut--\r\n", headers=FORM)
    assert client.post("/features", content=unused + part + b"--cut--\r\n", headers=FORM).json() == alone.json()
    answer = client.post("/features", content=unused + b"--cut--\r\n", headers=FORM)
    assert answer.status_code == 400 and "no images" in answer.json()["detail"]


def test_an_identity_encoding_is_none_however_it_is_written(client: TestClient) -> None:
    assert client.post("/features", content=png(), headers=PNG | {"Content-Encoding": "Identity"}).status_code == 200


def test_an_array_of_the_third_version_is_read(client: TestClient) -> None:
    header = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 12, 12, 3)}", (3, 0))
    assert client.post("/features", content=header + bytes(432), headers=NPY).status_code == 200


def test_grey_pixels_are_colourless_to_a_model_of_colours(client: TestClient) -> None:
    grey = pixels(0, 12, 1)
    stream = io.BytesIO()
    np.save(stream, np.stack([grey, grey.T]))
    found = client.post("/features", content=stream.getvalue(), headers=NPY)
    files = [encode(Image.fromarray(each), "PNG") for each in (grey, grey.T)]
    assert found.status_code == 200
    assert found.json() == client.post("/features", files=[("images", file) for file in files]).json()


def test_base64_with_line_breaks_is_told_how_to_have_none(client: TestClient) -> None:
    wrapped = base64.encodebytes(png()).decode()
    body = f'{{"images": ["{wrapped}"]}}'
    answer = client.post("/features", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "`base64 -w0`" in answer.json()["detail"]
    answer = client.post("/features", content="{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "base64" not in answer.json()["detail"]
