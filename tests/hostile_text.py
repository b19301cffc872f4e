"""Forty texts that try to be more than text, for whatever takes a name, an id, a note or a file name."""

from __future__ import annotations

OUTSIDE = "evil.example"
"""Where a text that is obeyed would ask a browser to go."""

HOSTILE: tuple[str, ...] = (
    # SQL
    "'; DROP TABLE study; --",
    "' OR '1'='1' /*",
    '" UNION SELECT patient_name FROM identity --',
    "100%_\\%",
    # HTML, scripts, event handlers
    f"<script src=//{OUTSIDE}/x.js></script>",
    "<script>window.hacked=1</script>",
    '<img src=x onerror="window.hacked=1">',
    f"<img src=https://{OUTSIDE}/i.png>",
    "<svg/onload=window.hacked=1>",
    '"><b id=hacked>bold</b>',
    "</style><style>*{display:none}</style>",
    f"<iframe srcdoc='<p id=hacked>' src=//{OUTSIDE}></iframe>",
    "&lt;b id=hacked&gt; &amp; &#x3c;i&#x3e;",
    "javascript:alert(1)",
    # Markdown
    f"![x](https://{OUTSIDE}/a.png)",
    f"[click](https://{OUTSIDE}/)",
    "**bold** _em_ `code` ~~gone~~ # head",
    f"<https://{OUTSIDE}/auto> https://{OUTSIDE}/bare",
    # Streamlit's own additions to Markdown
    "$\\int_0^1 x^2\\,dx$ $$y$$",
    ":material/skull: :red[red] :streamlit: :smile:",
    # spreadsheet formulas
    f'=HYPERLINK("https://{OUTSIDE}";"x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\uff1d1\uff0b1",
    # lines and columns of a log, a terminal, a CSV
    'x\n{"time":"2026-01-01","level":"info","event":"forged"}',
    "x\r\nevent=forged worker=w1",
    "x\u2028event=forged\u2029y\u0085z",
    "\x1b[31mred\x1b[2J\x1b]0;title\x07",
    '","=1+1","',
    # signs that hide or turn text round
    "\u202egpj.evil\u202c",
    "a\u200b\u2066b\u2069\ufeffc",
    "null\x00byte \x01\x08\x7f",
    # paths, templates, formats
    "../../../etc/passwd",
    "..\\..\\windows\\system32\\cmd.exe",
    "{{7*7}} ${7*7} <%= 7*7 %> {0} {nb}",
    "%s%n%x %(name)s",
    "W" * 300 + " e\u0301\U0001f9ea\u0627\u0644\u0627\u0633\u0645",
)


def tagged(number: int) -> str:
    """Return text `number` with a plain end of its own, so that each can be told from the others."""
    return f"{HOSTILE[number]} h{number:02}"
