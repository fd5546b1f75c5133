"""Classify a text with a network that `dlrun export RUN --out FILE.onnx` wrote, without dlrun.

Works for imdb-dense, imdb-lasso and imdb-lstm with any number of classes. Usage:
python onnx_text.py FILE.onnx < review.txt
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["dlrun"])
steps, labels = about["preprocessing"], about["labels"]
special = steps["ids"]

# A text becomes ids: a start, then a number for each word.
number = {word: special["first_word"] + place for place, word in enumerate(about["vocabulary"])}
text = sys.stdin.read().lower().translate(dict.fromkeys(map(ord, steps["words"]["spaces"]), " "))
ids = [special["start"]]
ids += [number.get(word, special["unknown"]) for word in text.split(" ") if word]

if about["input"]["name"] == "bags":  # which ids the text holds
    inputs = np.zeros((1, about["width"]), np.float32)
    inputs[0, ids] = 1
else:  # the last ids, padded in front
    length = steps["max_length"]
    inputs = np.array([([special["pad"]] * length + ids)[-length:]], np.int64)

(found,) = session.run(None, {about["input"]["name"]: inputs})
logits = found[0] if len(labels) > 2 else np.array([0, found[0]])  # of two classes: the second's
probabilities = np.exp(logits - logits.max())
probabilities /= probabilities.sum()
best = probabilities.argmax()
print(labels[best], probabilities[best])
