"""What a run leaves behind: the run folder and its files, the MP4 and the report.

Nothing here generates, reads prompts or decides; it writes down what the graph says and shows it.
"""
