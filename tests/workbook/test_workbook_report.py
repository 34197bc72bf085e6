"Reports: one file, nothing runs, nothing is fetched, nothing hostile comes through, nothing of ours is lost."
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops import plots
from model_ops.html import badge, el, name, show, table
from model_ops.workbook import report
from model_ops.workbook.clean import clean, declarations, sheet

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if path), None)
HOSTILE = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "x" * 10_000, "مطار\u202eevil", "\x00\ud800", "</style></title></pre><script>alert(1)</script>", "{{ 7*7 }}"]


def md(source, *tags): return {"cell_type": "markdown", "metadata": {"tags": list(tags)}, "source": source}


def code(source, *tags, outputs=()): return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "outputs": list(outputs), "execution_count": 1}


def display(**data): return {"output_type": "display_data", "metadata": {}, "data": {kind.replace("_", "/", 1): value for kind, value in data.items()}}


def printed(text, stream="stdout"): return {"output_type": "stream", "name": stream, "text": text}


def raised(evalue="one class only", traceback=()): return {"output_type": "error", "ename": "ValueError", "evalue": evalue, "traceback": list(traceback)}


class Seen(HTMLParser):
    "What a page holds: elements, their attributes, texts."

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]

    def handle_data(self, data): self.text += data


FORBIDDEN = {"script", "iframe", "object", "embed", "form", "input", "button", "base", "link", "foreignobject", "audio", "video", "template", "noscript", "textarea", "frame", "applet"}


def assert_inert(page):
    "Nothing in the page runs or fetches."
    seen = Seen(page)
    assert not FORBIDDEN & set(seen.tags)
    for tag, key, value in seen.attributes:
        assert not key.startswith("on"), (tag, key)
        assert key not in ("srcset", "action", "formaction", "ping", "background", "poster", "data", "srcdoc"), (tag, key)
        if key in ("href", "src", "xlink:href"): assert re.match(r"#|data:image/|[\w.-]+\.html|\.\./runs/failed/[\w.-]+\.html", value), (tag, key, value)
        if tag != "meta": assert not re.search(r"url\((?!#)|javascript:|@import|expression\(", value.replace("&#39;", "'"), re.I) or key in ("title", "aria-label"), (tag, key, value)
        if (tag, key) == ("meta", "http-equiv"): assert value == "Content-Security-Policy"
    for css in re.findall(r"<style>(.*?)</style>", page, re.S): assert not re.search(r"url\(|@import|https?:", css)
    return seen


def rendered(tmp_path, cells, **told):
    out = report.render({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, tmp_path / "reports" / "step.html", **told)
    return out.read_text(encoding="utf-8")


PLOT = plots.lines({"challenger": ([0, 1], [0, 1])}, x_label="x", y_label="y", title="A title")
RECORD = show(el("p", badge("stable")), table([[name("carrier"), plots.sparkline([1, 2, 3])], ["b", PLOT]], ["column", "course"]))


def test_the_order_of_a_report(tmp_path):
    cells = [md("# Evaluate\n\n> Is it better?"), code("import os"), md("## Curves\nRead it so."), code("curves", "report", outputs=[display(text_html=str(PLOT)), printed("careful", "stderr")]), md("Higher is better."),
             md("## Fit\nFor engineers."), code("fit()", outputs=[printed("fitted")])]
    page = rendered(tmp_path, cells, title="flights: evaluate", summary="It is better.", outcome="promote", provenance={"commit": "abc123", "dirty": True, "parameters": {"level": 0.95}})
    places = [page.index(text) for text in ("It is better.", ">promote<", "Is it better?", "Read it so.", "<svg", "Higher is better.", "<details class=\"annex\"", "import os", "careful", "For engineers.", "fitted", "abc123", "0.95")]
    assert places == sorted(places)
    assert "<title>flights: evaluate</title>" in page and page.count("<svg") == 1 and page.count("Read it so.") == 2
    assert "viewport" in page and "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page and "@media print" in page and "prefers-color-scheme:dark" in page
    assert_inert(page)


def test_our_displays_survive_whole(tmp_path):
    page = rendered(tmp_path, [md("# A"), code("a", "report", outputs=[display(text_html=str(RECORD)), display(text_html=str(PLOT))]), code("b", "report", outputs=[display(image_svg_xml=str(PLOT)) | {"data": {"image/svg+xml": str(PLOT)}}])])
    assert page.count("<svg") == 4 and page.count("viewBox") == 4 and page.count("</svg>") == 4
    assert [t for t in Seen(page).tags if t in ("path", "text", "line")].count("text") == 3 * len(re.findall("<text", str(PLOT)))
    assert page.count(".mo .badge{") == 1  # the style sheet stands once, in the head
    assert '<span class="badge good">stable</span>' in page and "<code><bdi>carrier</bdi></code>" in page


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_everywhere(tmp_path, text):
    outputs = [display(text_html=str(show(el("p", text), table([[name(text), text]], [text, "b"])))), display(text_plain=text), display(text_markdown=text), display(text_html=text), printed(text), raised(text, [text])]
    plain = rendered(tmp_path, [md("# Title"), code("x", "report")])
    page = rendered(tmp_path, [md(f"# {text}\n{text}", "report"), code(text, "report", outputs=outputs), code(text, outputs=outputs)], title=text, summary=text, outcome=text,
                    provenance={text: text, "parameters": {text: [text]}})
    seen = assert_inert(page)
    assert set(seen.tags) - set(Seen(plain).tags) <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "bdi", "style", "pre", "b", "svg", "img", "section", "details", "summary", "footer", "span", "header", "h1", "h2"}
    assert len(page.encode()) < 600_000


FOREIGN = [
    "<a href='javascript:alert(1)'>a</a>", "<a href=' java\nscript:alert(1)'>a</a>", "<a href='//x.example'>a</a>", "<a href='https://x.example/p?q=1'>a</a>", "<a href='data:text/html,x'>a</a>",
    "<img src='https://x.example/a.png'>", "<img src='data:text/html;base64,AAAA'>", "<img srcset='https://x.example/a.png 2x' src='data:image/png;base64,AAAA'>",
    "<svg><script>alert(1)</script></svg>", "<svg><use href='https://x.example/a.svg#b'/></svg>", "<svg><image href='https://x.example/a.png'/></svg>", "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><set attributeName='onmouseover' to='alert(1)'/></svg>", "<svg><foreignObject><iframe src=x></iframe></foreignObject></svg>", "<svg fill='url(https://x.example/#a)'></svg>",
    "<style>@import 'https://x.example/a.css'; body{display:none} .a{background:url(https://x.example/a)}</style>", "<p style='background:url(https://x.example/a)'>x</p>", "<p style='position:fixed;inset:0'>x</p>",
    "<meta http-equiv=refresh content='0;url=https://x.example'>", "<base href='https://x.example'>", "<link rel=stylesheet href='https://x.example/a.css'>", "<form action='https://x.example'><button formaction=x>b</button></form>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>", "<object data=x></object>", "<embed src=x>", "<video src=x autoplay></video>", "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>", "<svg></p><style><a title='</style><img src=x onerror=alert(1)>'></style></svg>", "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<div ONCLICK=alert(1) OnMouseOver='alert(1)' aria-x\"><script>=1>x</div>", "<!--><img src=x onerror=alert(1)>-->", "<![CDATA[<script>alert(1)</script>]]>", "<![foo[<script>alert(1)</script>", "<template><script>alert(1)</script></template>",
    "<title></title><script>alert(1)</script>", "<xmp><script>alert(1)</script></xmp>", "<textarea></textarea><img src=x onerror=alert(1)>", "</main></body></html><script>alert(1)</script>", "<p", "<svg", "<style", "<a href=",
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=range(len(FOREIGN)))
def test_foreign_markup_is_made_harmless(foreign):
    cleaned = str(clean(foreign, "o1").markup)
    assert_inert(cleaned)
    assert "<!" not in cleaned and "alert(1)" not in re.sub(r">[^<]*<", "><", f">{cleaned}<")
    assert str(clean(cleaned, "o1").markup).count("<") == cleaned.count("<")  # cleaning twice changes no element


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(["<p>", "</p>", "<svg>", "</svg>", "<style>", "</style>", "<script>", "</script>", "<table><tr><td>", "</table>", "<b ", "title='", "'", '"', ">", "<!--", "-->", "<![CDATA[", "]]>", "&lt;script&gt;", "&#x3c;",
                                 "<title>", "</title>", "<path d='M0 0'/>", "<a href=#x>", "onerror=alert(1) ", "x", "</div>", "<iframe>", "<math>", "\x00", "é"]), max_size=25).map("".join))
def test_any_soup_comes_out_inert_and_balanced(soup):
    cleaned = str(clean(soup, "o1").markup)
    assert_inert(cleaned)
    depth = 0
    for close, alone in re.findall(r"<(/?)[A-Za-z][^>]*?(/?)>", re.sub(r'"[^"]*"', '""', cleaned)):
        depth += -1 if close else 0 if alone else 1
        assert depth >= 0
    assert depth == 0


def test_styles_stay_in_their_place():
    assert sheet("body, #a .b{color:red} .c{position:fixed} @media print{p{color:red}}", "o1") == "#o1 body,#o1 #o1-a .b{color:red}"
    assert declarations("font-family:\"a</style><script>\";color:rgb(1,2,3);--x:url(y);content:'z'") == "color:rgb(1,2,3)"
    gradient = clean('<svg><defs><linearGradient id="g"></linearGradient></defs><rect fill="url(#g)" clip-path="url(\'#g\')"/><use xlink:href="#g"/></svg>', "o7").markup
    assert 'id="o7-g"' in gradient and gradient.count("url(#o7-g)") == 2 and 'href="#o7-g"' in gradient


def test_libraries_come_through(tmp_path):
    pandas = '<div><style scoped>.dataframe tbody tr th {vertical-align: top;}</style><table border="1" class="dataframe"><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>0</th><td>1</td></tr></tbody></table></div>'
    figure = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/g.dtd"><svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9"><metadata><rdf:RDF>x</rdf:RDF></metadata><defs><style type="text/css">*{stroke-linejoin: round}</style></defs><g id="f"><path d="M0 0" style="fill: none; stroke: #000"/></g></svg>'
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    chart = display(text_html="<div id=vis></div><script>vega()</script>", text_plain="alt.Chart(...)")
    outputs = [display(text_html=pandas), {"output_type": "display_data", "data": {"image/svg+xml": figure.splitlines(True)}}, {"output_type": "display_data", "data": {"image/png": pixel + "\n"}}, chart,
               {**chart, "data": {**chart["data"], "image/png": pixel}}, display(text_markdown="**bold** [link](https://x.example/a)"), {"output_type": "execute_result", "data": {"application/x-own": {}}, "metadata": {}}]
    page = rendered(tmp_path, [md("# A"), code("a", "report", outputs=outputs)])
    assert '<table class="dataframe">' in page and ".dataframe tbody tr th{vertical-align:top}" in page and "rdf" not in page
    assert page.count("<svg") == 1 and '<path d="M0 0" style="fill:none;stroke:#000"/>' in page and page.count('src="data:image/png;base64,iVBOR') == 2
    assert page.count("needs scripts") == 2 and "<strong>bold</strong>" in page and "link (x.example/a)" in page
    assert_inert(page)


def test_a_failed_notebook(tmp_path):
    cells = [md("# Train"), code("import os"), md("## Fit"), code("model.fit(x)", outputs=[printed("so far"), raised("\x1b[31mone\x1b[0m class", ["\x1b[0;31mTraceback\x1b[0m", "line 2"])]), code("never()"),
             {**md("<span style='color:red'>An Exception was encountered</span>"), "metadata": {"tags": ["papermill-error-cell-tag"]}}]
    page = rendered(tmp_path, cells, title="flights: train", summary="The step 'train' failed.")
    places = [page.index(text) for text in ("The step", ">failed<", "ValueError: one class", "code cell 2 of 3", "Fit", "model.fit(x)", "<details><summary>The traceback", "Traceback\nline 2", "never()")]
    assert places == sorted(places) and "\x1b" not in page and "Exception was encountered" not in page
    assert_inert(page)


def test_a_page_stays_small_and_says_what_was_cut(tmp_path):
    rows = "<table>" + "<tr><td>a row of a table that never ends</td></tr>" * 100_000 + "</table>"
    many = [code("x", "report", outputs=[display(text_html=rows), printed("line\n" * 500_000), display(text_html=str(RECORD))]) for _ in range(5)]
    big = plots.Plot(el("svg", *(el("path", d="M0 0L1 1" * 20) for _ in range(5000))), "t")
    page = rendered(tmp_path, [md("# A"), *many, code("y", "report", outputs=[display(text_html=str(big))]), *(code("z" * 30_000, outputs=[printed("x" * 10**6)]) for _ in range(30))],
                    provenance={f"digest {i}": "<" * 400 for i in range(5000)})
    assert len(page.encode()) < 600_000 and page.count("more than a page can carry") >= 2 and "characters cut here" in page and "left out" in page
    seen = Seen(page)
    assert seen.tags.count("table") == page.count("</table>") and page.count("<svg") == page.count("</svg>")
    assert_inert(page)


def test_the_rule_of_what_is_read():
    cells = [md("# Title\n> question"), md("preparations"), code("a"), md("## One"), code("b"), md("text"), code("c", "report"), md("after"), md("## Two"), code("d"), md("alone", "report"), md("## Three")]
    assert ["".join(c["source"]) for c in report.readable(cells)] == ["# Title\n> question", "## One", "text", "c", "after", "alone"]
    assert [len(s) for s in report.sections(cells)] == [3, 5, 3, 1] and list(report.sections([])) == []


def test_the_same_run_gives_the_same_bytes(tmp_path):
    cells = [md("# A"), code("a", "report", outputs=[display(text_html=str(RECORD))])]
    assert rendered(tmp_path / "1", cells, provenance={"commit": "a"}) == rendered(tmp_path / "2", cells, provenance={"commit": "a"})


@pytest.fixture
def workbook(tmp_path):
    "A workbook of three steps; two have run, one of them failed later."
    (tmp_path / "settings.ini").write_text("[workbook]\nname = flights\n")
    for i, step in enumerate(("evaluate", "promote", "zero")):
        reads = [] if i == 0 else [f"records/{('evaluate', 'promote')[i - 1]}.json"]
        nb = {"cells": [md(f"# {step}"), code(f"step = take({step!r}, reads={reads}, record='records/{step}.json')", outputs=[])], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (tmp_path / "nbs" / "steps").mkdir(parents=True, exist_ok=True)
        (tmp_path / "nbs" / "steps" / f"{step}.ipynb").write_text(json.dumps(nb))
        if step != "zero": report.render(nb, tmp_path / "reports" / f"{step}.html", summary=f"The sentence of {step} <b>.", outcome="keep", provenance={"when (UTC)": "2013-09-01 10:00:00"})
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "promote.json").write_text(json.dumps({"kind": "decision", "version": 1, "summary": "Of the record.", "outcome": "promote"}))
    (tmp_path / "runs" / "failed").mkdir(parents=True)
    (tmp_path / "runs" / "failed" / "evaluate.html").write_text("failed")
    return tmp_path


def test_the_index(workbook):
    page = report.index(workbook).read_text()
    places = [page.index(text) for text in ("zero", "no report yet", 'href="evaluate.html"', ">keep<", "The sentence of evaluate &lt;b&gt;.", "../runs/failed/evaluate.html", "2013-09-01 10:00:00 UTC", 'href="promote.html"', ">promote</span>", "Of the record.")]
    assert places == sorted(places) and "The sentence of promote" not in page
    assert_inert(page)
    assert report.noted(workbook / "reports" / "evaluate.html") == {"summary": "The sentence of evaluate <b>.", "outcome": "keep", "when": "2013-09-01 10:00:00", "failed": False}
    (workbook / "reports" / "evaluate.html").write_text("not ours <meta name=model-ops content='[1'>")
    (workbook / "records" / "promote.json").write_text("{torn")
    assert "The sentence of promote" in report.index(workbook).read_text()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.slow
def test_in_a_browser_nothing_runs_and_nothing_is_fetched(tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    hostile = [display(text_html=text) for text in (*HOSTILE, *FOREIGN)] + [display(text_markdown=text) for text in HOSTILE] + [printed(text) for text in HOSTILE]
    wide = show(table([[i] * 30 for i in range(3)], [f"column {i}" for i in range(30)]), el("div", PLOT, PLOT, class_="row"))
    cells = [md("# Hostile\n" + "\n\n".join(HOSTILE)), code("x", "report", outputs=[*hostile, display(text_html=str(wide))]), code("y", outputs=hostile)]
    page_file = report.render({"cells": cells}, tmp_path / "hostile.html", title=HOSTILE[0], summary=HOSTILE[1], outcome=HOSTILE[2], provenance={t: t for t in HOSTILE})
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        page = browser.new_page(viewport={"width": 360, "height": 700})
        requests, said = [], []
        page.on("request", lambda r: requests.append(r.url))
        page.on("console", lambda m: said.append(m.text))
        page.on("dialog", lambda d: (said.append(d.message), d.dismiss()))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.goto(page_file.as_uri())
        page.wait_for_timeout(300)
        assert [r for r in requests if not r.startswith("data:")] == [page_file.as_uri()] and said == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360  # wide tables scroll in their own place
        assert page.evaluate("document.querySelectorAll('script, iframe, object, form, link, base').length") == 0
        assert page.evaluate("getComputedStyle(document.body).display") == "block" and page.locator("main .out svg").count() >= 2
        assert page.evaluate("document.querySelector('main').contains(document.querySelector('.annex'))")  # nothing closed what stands around it
        page.emulate_media(media="print")
        assert page.evaluate("document.querySelector('.annex pre').getBoundingClientRect().height") > 0  # details are open on paper
        browser.close()
