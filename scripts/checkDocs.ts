/** Checks what readers rely on: examples compile, relative links lead somewhere, exports are documented. */
import { checkComments } from "./docs/comments.ts"
import { checkExamples } from "./docs/examples.ts"
import { checkLinks } from "./docs/links.ts"
import { glob, publicSources, report } from "./repository.ts"

const pages = [...glob("*.md").filter((file) => file !== "CHANGELOG.md"), ...glob("docs/**/*.md")]
const sources = publicSources()

const examples = checkExamples([...pages, ...glob("src/**/*.ts")])

report(
  [...checkComments(sources), ...checkLinks(pages), ...examples.problems],
  `docs: ${examples.count} examples compile; links of ${pages.length} pages, comments of ${sources.length} modules in order`
)
