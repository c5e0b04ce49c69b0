"""The bank: who is in the video (cast), what they looked like (memory frames), and which frames come back when.

`bank.Bank` is the one entrance; `records` are the JSON-like records it works on. The rest is one idea a module: `cast`
(registration), `scoring` (who is in an evicted frame), `ranking` (what a frame is worth, what stays), `retrieval` (what
a new prompt starts with), `index` (FAISS), `frames` (tensors and pictures on disk), `archive` (memory_bank.json).
"""
