/**
 * Checks what readers rely on: examples compile, relative links lead somewhere, commands are run, exports are documented,
 * and nothing is worded as it should not be.
 */
import { checkCommands } from "./docs/commands.ts"
import { checkComments, checkFirstLines, checkWording } from "./docs/comments.ts"
import { checkExamples } from "./docs/examples.ts"
import { checkLinks } from "./docs/links.ts"
import { checkWords } from "./docs/words.ts"
import { glob, publicSources, report } from "./repository.ts"

const pages = ["*.md", "docs/**/*.md", "examples/**/*.md", "container/**/*.md", "benchmark/*.md"].flatMap(glob)
  .filter((file) => file !== "CHANGELOG.md")
const sources = publicSources()
const program = ["src", "scripts", "testbed", "examples", "benchmark"].flatMap((folder) => glob(`${folder}/**/*.ts`))
const tests = glob("test/**/*.ts").filter((file) => !file.startsWith("test/fixtures/"))

const examples = checkExamples([...pages, ...glob("src/**/*.ts")])

const wording = [
  ...checkWording(sources),
  ...checkFirstLines([...program, ...tests]),
  // Generated from the comments of src.
  ...checkWords([
    ...pages.filter((page) => !page.startsWith("docs/reference/api/")),
    ...program,
    ...tests
  ])
]

report(
  [...checkComments(sources), ...checkLinks(pages), ...checkCommands(pages), ...wording, ...examples.problems],
  `docs: ${examples.count} examples compile; links of ${pages.length} pages, comments of ${sources.length} modules in order`
)
