// The style sheet of all pages. It is part of each page: no further request, whatever prefix a proxy puts before it.

export const style = `
:root {
  color-scheme: light dark;
  --page: #fff; --text: #1c2128; --quiet: #57606a; --line: #d5dbe1; --shade: #f5f7f9; --link: #0b57a0;
  --accent: #a61e3b; --good: #1a7036; --warn: #855800; --bad: #b3261e;
  --mono: ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --text: #e4e8ec; --quiet: #9ca7b3; --line: #303943; --shade: #1a2027; --link: #83bbff;
    --accent: #f08aa0; --good: #66c57f; --warn: #e3ae4c; --bad: #ff8f85;
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { font-size: clamp(1rem, .7rem + .3vw, 1.5rem); -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 1em/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Cantarell, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
.wrap { max-width: max(70rem, 58vw); margin: 0 auto; padding: 0 1.25rem; }
a { color: var(--link); text-decoration-thickness: from-font; text-underline-offset: .15em; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
a, code, td, th, dd, dt, li, h1, h2, h3, pre, p { unicode-bidi: isolate; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: .5rem; top: .5rem; padding: .5rem 1rem; background: var(--page); z-index: 2; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.top { background: var(--shade); border-bottom: 1px solid var(--line); }
.top .wrap { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem; padding-top: .65rem; }
.brand { font-weight: 650; font-size: 1.1rem; color: var(--text); text-decoration: none; padding-bottom: .5rem; }
.brand::before { content: ""; display: inline-block; width: .62em; height: .62em; margin-right: .5em; border-radius: 2px; background: var(--accent); }
.top form { margin-left: auto; padding-bottom: .5rem; }
.tabs { flex-basis: 100%; display: flex; flex-wrap: wrap; gap: 0 1.35rem; margin: 0; padding: 0; list-style: none; font-size: .94rem; }
.tabs a { display: block; padding: .3rem 0 .45rem; color: var(--quiet); text-decoration: none; border-bottom: 3px solid transparent; }
.tabs a:hover { color: var(--text); border-color: var(--line); }
.tabs a[aria-current] { color: var(--text); border-color: var(--accent); font-weight: 600; }

main { display: block; padding: 1.4rem 0 3rem; }
.crumbs ol { display: flex; flex-wrap: wrap; margin: 0 0 .4rem; padding: 0; list-style: none; font-size: .88rem; color: var(--quiet); }
.crumbs li + li::before { content: "/"; padding: 0 .45em; color: var(--quiet); }
h1 { margin: 0 0 .4rem; font-size: 1.85rem; line-height: 1.2; font-weight: 680; letter-spacing: -.012em; text-wrap: balance; }
h2 { margin: 2.3rem 0 .6rem; font-size: 1.22rem; line-height: 1.3; font-weight: 650; }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem; font-weight: 650; }
p { margin: .5rem 0; max-width: 46rem; text-wrap: pretty; }
.lead { font-size: 1.1rem; color: var(--quiet); margin-top: 0; }
.quiet, .quiet a { color: var(--quiet); }
small { font-size: .86rem; }
h1 small, h2 small { font-weight: 400; color: var(--quiet); font-size: .66em; letter-spacing: 0; }
ul.plain, ol.plain { margin: .4rem 0; padding: 0; list-style: none; }

code, pre, .path { font-family: var(--mono); font-size: .875em; }
pre { margin: .5rem 0; padding: .75rem .9rem; background: var(--shade); border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap; line-height: 1.5; tab-size: 8; }
pre code { font-size: 1em; }
.snippet { position: relative; }
.snippet button { position: absolute; top: .4rem; right: .4rem; min-height: 0; padding: .12rem .6rem; font-size: .8rem; }
.snippet:has(button) pre { padding-right: 5rem; }

button, input, select { font: inherit; color: inherit; max-width: 100%; }
input, select, button { min-height: 2.35rem; padding: .3rem .65rem; background: var(--page); border: 1px solid var(--quiet); border-radius: 6px; }
::placeholder { color: var(--quiet); opacity: 1; }
button { padding: .3rem .9rem; background: var(--shade); border: 1px solid var(--quiet); border-radius: 6px; cursor: pointer; flex: none; white-space: nowrap; }
button:hover { border-color: var(--text); }
form.search { display: flex; gap: .4rem; min-width: 0; }
form.search input { width: 15rem; min-width: 0; flex: 1 1 auto; }
.big { margin: 1.1rem 0; max-width: 46rem; font-size: 1.08rem; }
.filters { display: flex; flex-wrap: wrap; gap: .6rem .8rem; align-items: end; margin: 1rem 0; }
.filters label { display: block; font-size: .84rem; color: var(--quiet); }
.filters > * { min-width: 0; }
.filters .grow { flex: 1 1 16rem; }
.filters .row { flex-basis: 100%; display: flex; gap: .4rem; align-items: end; }
.filters .grow input { width: 100%; }
.filters select { display: block; width: 100%; max-width: 15rem; font-size: .94rem; }

table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); font-size: .88rem; padding-bottom: .3rem; }
th, td { padding: .42rem 1.1rem .42rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .8rem; font-weight: 600; color: var(--quiet); white-space: nowrap; border-bottom-color: var(--quiet); }
tbody th { font-weight: 600; }
tbody tr:hover > * { background: color-mix(in srgb, var(--shade) 60%, transparent); }
.number { text-align: right; white-space: nowrap; }
.number + :not(.number) { padding-left: 1rem; }
time { white-space: nowrap; }
.tag { padding: .05em .5em; border: 1px solid var(--line); border-radius: 1em; font-size: .82rem; color: var(--quiet); background: var(--shade); }

.state { display: inline-block; margin: .1rem 0; }
.state::before { content: ""; display: inline-block; width: .62em; height: .62em; margin-right: .5em; border-radius: 50%; background: var(--quiet); }
.state.good::before { background: var(--good); }
.state.warn::before { background: var(--warn); border-radius: 1px; transform: rotate(45deg); }
.state.bad::before { background: var(--bad); border-radius: 1px; }
.note { margin: .8rem 0; padding: .5rem .9rem; border-left: 4px solid var(--warn); background: var(--shade); border-radius: 0 6px 6px 0; }
.note.bad { border-color: var(--bad); }
.added { color: var(--good); }
.removed { color: var(--bad); }

dl.facts { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .3rem 1.5rem; margin: .8rem 0; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; }
dl.facts ul { margin: 0; }
.split { display: grid; grid-template-columns: minmax(0, 1fr) minmax(15rem, 20rem); gap: 0 3rem; align-items: start; }
.split > * { min-width: 0; }
.split aside { margin-top: .5rem; padding: .1rem 1.2rem .3rem; border: 1px solid var(--line); border-radius: 8px; }
.split aside dl { display: block; }
.split aside dd { margin: 0 0 .5rem; }
.split aside dt { font-size: .84rem; }
.choices { display: flex; flex-wrap: wrap; gap: .4rem; margin: .6rem 0; padding: 0; list-style: none; font-size: .94rem; }
.choices a { display: block; padding: .1rem .75rem; border: 1px solid var(--line); border-radius: 1em; text-decoration: none; }
.choices a:hover { border-color: var(--link); }
.choices a[aria-current] { border-color: var(--link); background: var(--link); color: var(--page); }
.columns { display: grid; gap: 0 3rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.columns > * { min-width: 0; }
details { margin: .6rem 0; }
summary { cursor: pointer; width: fit-content; color: var(--link); }
.results { padding: 0; margin: .6rem 0; list-style: none; }
.results > li { display: grid; grid-template-columns: minmax(0, 18rem) minmax(0, 1fr); gap: 0 1.5rem; align-items: baseline; padding: .6rem 0; border-bottom: 1px solid var(--line); }
.results > li > :not(h2) { grid-column: 2; }
.results h2, .results h3 { margin: 0; font-size: 1.04rem; }
.results p { margin: .1rem 0; max-width: none; }
.pages { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; margin: 1rem 0; padding: 0; list-style: none; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); margin: 1rem 0; padding: 0; list-style: none; }
.cards > li { padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: 8px; }
.cards h2, .cards h3 { margin: 0 0 .2rem; font-size: 1.08rem; }
figure { margin: 1rem 0; }
figcaption { font-weight: 600; font-size: .95rem; }
figcaption span { font-weight: 400; color: var(--quiet); }
svg.chart { display: block; width: 100%; height: auto; margin-top: .3rem; }
.chart text { fill: var(--quiet); font-size: 12px; font-family: inherit; }
.chart .axis { stroke: var(--line); stroke-width: 1; }
.chart .one { fill: var(--link); }
.chart .two { fill: var(--accent); }
.chart .dot { fill: var(--link); }
.chart .span { stroke: var(--link); stroke-width: 1.5; opacity: .45; }
.key::before { content: ""; display: inline-block; width: .7em; height: .7em; margin: 0 .35em 0 .7em; border-radius: 2px; background: var(--link); }
.key.two::before { background: var(--accent); }
.foot { border-top: 1px solid var(--line); padding: 1rem 0 2rem; color: var(--quiet); font-size: .86rem; }
.foot p { max-width: none; }

@media (max-width: 44rem) {
  h1 { font-size: 1.5rem; }
  .wrap { padding: 0 1rem; }
  .top form { margin: 0; flex: 1 1 100%; min-width: 0; }
  form.search input { width: 100%; }
  .tabs { gap: 0 1.1rem; }
  dl.facts, .split { display: block; }
  dl.facts dt { font-size: .88rem; }
  dl.facts dd { margin: 0 0 .5rem; }
  .filters select { max-width: none; }
  .filters > :not(.row):not(.grow) { flex: 1 1 8rem; }
  .results > li { display: block; }
  table.stack, .stack tbody, .stack tr { display: block; }
  .stack thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .stack tr { padding: .55rem 0; border-bottom: 1px solid var(--line); }
  .stack td, .stack tbody th { display: inline-block; padding: .05rem .9rem .05rem 0; border: 0; text-align: left; white-space: normal; font-size: .94rem; }
  .stack .number + :not(.number) { padding-left: 0; }
  .stack tbody th, .stack .path, .stack .wide { display: block; padding-right: 0; }
  .stack tbody th { font-size: 1rem; }
  .stack td:empty { display: none; }
  .stack td[data-label]::before { content: attr(data-label) " "; color: var(--quiet); font: .84rem system-ui, sans-serif; }
}
@media print { .top form, .tabs, .snippet button, .skip { display: none; } }
`;
