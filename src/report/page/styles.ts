/** The page's style sheet: light and dark, wide and narrow, screen and paper. Colours of models are Okabe and Ito's. */
export const STYLES = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f9; --text: #1c2128; --soft: #57606a; --line: #d8dee4; --grid: #e6e9ed;
  --link: #0a58a8; --good: #00664b; --bad: #a03a00;
  --heat-low: #f3f5f8; --heat-high: #08407a; --heat-on-low: #1c2128; --heat-on-high: #ffffff;
  --model-0: #6b7480; --model-1: #c77f00; --model-2: #0072b2; --model-3: #00835f; --model-4: #b5488b;
  --model-5: #b84a00; --model-6: #2d92c9; --model-7: #7d7200;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --panel: #1a2028; --text: #e4e9ef; --soft: #9ba7b4; --line: #323b46; --grid: #28303a;
    --link: #7ab8f0; --good: #4fd0a7; --bad: #ff9a5c;
    --heat-low: #1d242d; --heat-high: #a9d5ff; --heat-on-low: #e4e9ef; --heat-on-high: #0c1a2b;
    --model-0: #9aa5b1; --model-1: #f0a92c; --model-2: #4ea8e0; --model-3: #33c29a; --model-4: #e08cbc;
    --model-5: #f5854a; --model-6: #8fd0f7; --model-7: #d6c94b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 48px 0 8px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 6px 0 10px; max-width: 76ch; }
a { color: var(--link); }
code { overflow-wrap: anywhere; }
code, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: 12.5px; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.lead { font-size: 18px; line-height: 1.5; max-width: 70ch; }
.note { border-left: 3px solid var(--line); padding: 2px 0 2px 12px; }
.gap { color: var(--soft); font-style: italic; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 24px; color: var(--soft); font-size: 13px; margin: 8px 0 0; padding: 0; list-style: none; }
.charts { display: grid; gap: 20px 24px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); margin: 12px 0; }
.charts.small-multiples { grid-template-columns: repeat(auto-fill, minmax(min(100%, 200px), 1fr)); }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: 13px; font-weight: 600; margin-bottom: 4px; }
figcaption .soft { font-weight: 400; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--text); font: 12px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
svg text.tick { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
svg text.axis { fill: var(--soft); font-size: 11.5px; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .frame { stroke: var(--line); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
svg .faint { opacity: 0.35; stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; margin: 4px 0 10px; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend svg { width: 22px; height: 14px; flex: none; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
.wide svg { min-width: 640px; }
.unbroken { white-space: nowrap; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; min-width: 50%; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: 12.5px; white-space: nowrap; }
tbody th { color: var(--text); font-size: 13.5px; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.wrap { overflow-wrap: anywhere; min-width: 22ch; }
.verdict { font-size: 12px; white-space: nowrap; display: block; color: var(--soft); }
.verdict.better { color: var(--good); font-weight: 600; }
.verdict.worse { color: var(--bad); font-weight: 600; }
.interval { color: var(--soft); white-space: nowrap; font-size: 12.5px; }
.state-failed, .state-parked, .state-cancelled { color: var(--bad); font-weight: 600; }
details { margin: 8px 0; }
summary { cursor: pointer; color: var(--link); }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 12px; overflow: auto; font-size: 12.5px; max-height: 70vh; }
footer { margin-top: 56px; border-top: 1px solid var(--line); padding-top: 12px; color: var(--soft); font-size: 13px; }
@media (max-width: 560px) { main { padding: 18px 14px 48px; } h1 { font-size: 22px; } .lead { font-size: 16.5px; } }
@media print {
  :root { color-scheme: light; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 12px; } main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } tr, figure { break-inside: avoid; } .scroll { overflow: visible; }
  pre { max-height: none; white-space: pre-wrap; }
  @page { margin: 14mm; }
}
`;
