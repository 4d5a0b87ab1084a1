"""What is made of finished sweeps: one HTML page, plots, tables, verdicts.

run.py       a run folder as rows: what distinguishes its points, what they found
verdict.py   our numbers against those of others
table.py     rows and verdicts as HTML and Markdown
line.py, single.py, measured.py   the pictures, one kind of data each
figure.py    figures in two colour schemes, as SVG and PNG
page.py      the page: style and script inside, nothing outside
write.py     `ckpt report`
"""
