// A native agent in Node.js: it gets numbers and answers with their doubles. It stands on the client of docs/examples/bus.
//   node doubler.mjs SOCKET TOKEN_FILE        works until it is stopped
import { createHmac, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Bus } from '../bus/client.mjs'

const NAME = 'doubler', WORK = 4000
const [path, tokenFile] = process.argv.slice(2)

function outcome ({ inputs }) {
  const numbers = inputs.ports.in
  if (!Array.isArray(numbers) || !numbers.every(Number.isFinite)) return { Failed: { retryable: false, reason: 'give numbers on the port in' } }
  return { Completed: { ports: { out: numbers.map(number => 2 * number) } } }
}

// Who may read the operator token may start any agent; a sandboxed one is given its own token instead.
const token = createHmac('sha256', readFileSync(tokenFile, 'utf8').trim()).update(`agent:${NAME}`).digest('hex')
const bus = await Bus.connect(path, { role: 'agent', name: NAME, token })
await bus.subscribe(`agent/${NAME}`, ({ schema, envelope: { payload }, trace }) => {
  if (schema !== WORK) return
  bus.publish(payload.reply_topic, 'toolresult.executor.agent.response.v1', outcome(payload), { trace }).catch(error => console.error(error.message))
})
await bus.publish('rlp/runtime/hello', 'observation.agent.hello.v1',
  { agent_id: randomUUID(), name: NAME, shim_version: '1', capabilities: { bitmap: 0, labels: [] } })
