/** Pages with sections that a program writes, each between `<!-- NAME -->` and `<!-- end -->`. */

/** The page with these sections in place of what stood there. */
export const fill = (text: string, sections: ReadonlyMap<string, string>): string =>
  text.replace(/<!-- (.+?) -->\n[^]*?<!-- end -->/g, (old, name: string) => {
    const section = sections.get(name)
    return section === undefined ? old : `<!-- ${name} -->\n\n${section}\n\n<!-- end -->`
  })
