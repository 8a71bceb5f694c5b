import { describe, expect, it } from 'vitest';
import { markup, Markup } from '../../../src/report/page/markup.js';

describe('markup templates', () => {
  it('escape text in content and in quoted attributes', () => {
    const hostile = `<script>alert("x" & 'y')</script>`;
    const escaped = '&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;';
    expect(markup`<p title="${hostile}">${hostile}</p>`.text).toBe(`<p title="${escaped}">${escaped}</p>`);
  });

  it('keep markup, join lists, and leave out null and false', () => {
    expect(markup`${markup`<b>a</b>`}${['c', 1, null, false, new Markup('<i>d</i>')]}`.text).toBe(
      '<b>a</b>c1<i>d</i>',
    );
  });
});
