/** Checks what readers rely on: examples compile, relative links lead somewhere, commands are run, exports are documented. */
import { checkCommands } from "./docs/commands.ts"
import { checkComments } from "./docs/comments.ts"
import { checkExamples } from "./docs/examples.ts"
import { checkLinks } from "./docs/links.ts"
import { glob, publicSources, report } from "./repository.ts"

const pages = ["*.md", "docs/**/*.md", "examples/**/*.md", "container/**/*.md"].flatMap(glob)
  .filter((file) => file !== "CHANGELOG.md")
const sources = publicSources()

const examples = checkExamples([...pages, ...glob("src/**/*.ts")])

report(
  [...checkComments(sources), ...checkLinks(pages), ...checkCommands(pages), ...examples.problems],
  `docs: ${examples.count} examples compile; links of ${pages.length} pages, comments of ${sources.length} modules in order`
)
