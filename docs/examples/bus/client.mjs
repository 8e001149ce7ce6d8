// A client of the bus in Node.js, written from docs/protocol.md alone, without dependencies.
//   node client.mjs SOCKET TOKEN_FILE OPENING.yaml [PARAMS_JSON]     submits a run and prints its records to the end
import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { pathToFileURL } from 'node:url'

const IDS = { 'observation.generic.v1': 1, 'intent.bus.hello.v1': 16, 'intent.bus.subscribe.v1': 18, 'intent.bus.credit.v1': 21, 'observation.bus.pong.v1': 23, 'observation.agent.hello.v1': 100, 'intent.ctrl.request.v1': 2001, 'intent.executor.agent.request.v1': 4000, 'toolresult.executor.agent.response.v1': 4001 }
const WELCOME = 17, ACK = 20, PING = 22, GOODBYE = 24

// MsgPack: what RMP allows. Integers beyond 2^53 become BigInt.
function pack (value) {
  const head = (tag, size, length) => { const made = Buffer.alloc(1 + size); made[0] = tag; if (size) made.writeUIntBE(length, 1, size); return made }
  if (value === null || value === undefined) return Buffer.from([0xc0])
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2])
  if (Number.isSafeInteger(value)) {
    const made = Buffer.alloc(9); made[0] = 0xd3; made.writeBigInt64BE(BigInt(value), 1); return made
  }
  if (typeof value === 'number') { const made = Buffer.alloc(9); made[0] = 0xcb; made.writeDoubleBE(value, 1); return made }
  if (typeof value === 'string') { const text = Buffer.from(value); return Buffer.concat([head(0xdb, 4, text.length), text]) }
  if (Buffer.isBuffer(value)) return Buffer.concat([head(0xc6, 4, value.length), value])
  if (Array.isArray(value)) return Buffer.concat([head(0xdd, 4, value.length), ...value.map(pack)])
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Buffer.concat([head(0xdf, 4, entries.length), ...entries.flatMap(([key, inner]) => [pack(key), pack(inner)])])
}

function unpack (data) {
  let at = 0
  const uint = size => { const value = data.readUIntBE(at, size); at += size; return value }
  const wide = value => { at += 8; return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value }
  const bytes = size => data.subarray(at, at += size)
  const map = size => Object.fromEntries(Array.from({ length: size }, () => [read(), read()]))
  const list = size => Array.from({ length: size }, read)
  function read () {
    const tag = uint(1)
    if (tag < 0x80) return tag
    if (tag < 0x90) return map(tag & 15)
    if (tag < 0xa0) return list(tag & 15)
    if (tag < 0xc0) return bytes(tag & 31).toString()
    if (tag >= 0xe0) return tag - 256
    switch (tag) {
      case 0xc0: return null
      case 0xc2: case 0xc3: return tag === 0xc3
      case 0xc4: case 0xc5: case 0xc6: return bytes(uint(1 << (tag - 0xc4)))
      case 0xca: at += 4; return data.readFloatBE(at - 4)
      case 0xcb: at += 8; return data.readDoubleBE(at - 8)
      case 0xcc: case 0xcd: case 0xce: return uint(1 << (tag - 0xcc))
      case 0xcf: return wide(data.readBigUInt64BE(at))
      case 0xd0: case 0xd1: case 0xd2: { const size = 1 << (tag - 0xd0); at += size; return data.readIntBE(at - size, size) }
      case 0xd3: return wide(data.readBigInt64BE(at))
      case 0xd9: case 0xda: case 0xdb: return bytes(uint(1 << (tag - 0xd9))).toString()
      case 0xdc: case 0xdd: return list(uint(tag === 0xdc ? 2 : 4))
      case 0xde: case 0xdf: return map(uint(tag === 0xde ? 2 : 4))
      default: throw new Error(`byte ${tag} begins no value of RMP`)
    }
  }
  return read()
}

export class Bus {
  #socket; #buffer = Buffer.alloc(0); #waiting = new Map(); #subs = new Map(); #count = 0; #trace = randomBytes(16); #id = randomBytes(6).readUIntBE(0, 6); #welcome

  static async connect (path, { role = 'client', token, name = 'node-example' } = {}) {
    const bus = new Bus()
    bus.#socket = connect(path)
    bus.#socket.on('data', data => bus.#receive(data))
    const ended = error => { for (const { reject } of [bus.#welcome, ...bus.#waiting.values()]) reject(error || new Error('the bus closed the connection')) }
    bus.#socket.on('error', ended).on('close', ended)
    const welcome = await new Promise((resolve, reject) => {
      bus.#welcome = { resolve, reject }
      bus.send('intent.bus.hello.v1', { role, token, name, version: '1' })
    })
    bus.inbox = welcome.inbox
    await bus.subscribe(`${bus.inbox}/*`, message => bus.#settle(message.meta.topic, message.envelope.payload))
    return bus
  }

  send (type, payload, meta, { ttl = 30000, trace = this.#trace } = {}) {
    const body = pack(meta ? { type, payload, meta } : { type, payload })
    const head = Buffer.alloc(68) // length prefix and header; what is not set is 0
    head.writeUInt32BE(64 + body.length, 0); head.write('RMP0', 4); head.writeUInt16BE(64, 10)
    head.writeUInt16BE(IDS[type], 16); head.writeUInt32BE(body.length, 20)
    head.writeBigUInt64BE(BigInt(Date.now()), 24); head.writeBigUInt64BE(BigInt(ttl), 32)
    trace.copy(head, 40); head.writeBigUInt64BE(BigInt(++this.#id), 56)
    this.#socket.write(Buffer.concat([head, body]))
    return this.#id
  }

  #promise (key, first = () => {}) { return new Promise((resolve, reject) => this.#waiting.set(key, { resolve: value => { first(); resolve(value) }, reject })) }
  #settle (key, value, error) { const found = this.#waiting.get(key); this.#waiting.delete(key); error ? found?.reject(error) : found?.resolve(value) }
  async publish (topic, type, payload, options) { return await this.#promise(this.send(type, payload, { topic, ack: true }, options)) }
  async subscribe (pattern, onMessage, options = {}) {
    const sub = ++this.#count
    const levels = pattern.split('/').map(level => ({ '*': '[^/]+', '**': '.+' })[level] ?? level.replace(/[^\w]/g, '\\$&'))
    const made = { matches: new RegExp(`^${levels.join('/')}$`), onMessage, bounded: (options.class ?? 'realtime') !== 'realtime' }
    await this.#promise(this.send('intent.bus.subscribe.v1', { sub, pattern, ...options }), () => this.#subs.set(sub, made)) // what comes before the ack is not for it
  }

  async request (topic, payload, deadline = 30000) {
    const reply = `${this.inbox}/${randomBytes(6).readUIntBE(0, 6)}` // nobody who was asked before can guess it
    const answer = this.#promise(reply)
    const id = this.send('intent.ctrl.request.v1', payload, { topic, reply_to: reply }, { ttl: deadline })
    this.#waiting.set(id, { reject: error => this.#settle(reply, null, error) }) // a refusal comes as an ack
    const timer = setTimeout(() => this.#settle(reply, null, new Error('no reply in time')), deadline)
    return await answer.finally(() => { clearTimeout(timer); this.#waiting.delete(id) })
  }

  #receive (data) {
    this.#buffer = Buffer.concat([this.#buffer, data])
    while (this.#buffer.length >= 68 && this.#buffer.length >= 4 + this.#buffer.readUInt32BE(0)) {
      const size = 4 + this.#buffer.readUInt32BE(0)
      const frame = this.#buffer.subarray(0, size)
      this.#buffer = this.#buffer.subarray(size)
      this.#handle(frame.readUInt16BE(16), unpack(frame.subarray(68)), size, frame.subarray(40, 56))
    }
  }

  #handle (schema, envelope, size, trace) {
    const { payload, meta = {} } = envelope
    if (schema === WELCOME) this.#welcome.resolve(payload)
    else if (schema === ACK) this.#settle(payload.of, payload.matched, payload.ok ? undefined : new Error(`${payload.error.code}: ${payload.error.message}`))
    else if (schema === PING) this.send('observation.bus.pong.v1', payload)
    else if (schema === GOODBYE) this.#socket.destroy(new Error(`${payload.code}: ${payload.message}`))
    else {
      for (const [sub, { matches, onMessage, bounded }] of this.#subs) { // several match: the bus says which copy this is
        if (meta.sub === undefined ? !matches.test(meta.topic) : meta.sub !== sub) continue
        if (bounded) this.send('intent.bus.credit.v1', { sub, messages: 1, bytes: size })
        onMessage({ schema, meta, envelope, trace })
      }
    }
  }
  close () { this.#socket.end() }
}

const show = value => console.log(JSON.stringify(value, (_, inner) => typeof inner === 'bigint' ? String(inner) : inner))

async function submit (bus, opening, params, end) {
  const { ok, error } = await bus.request('rlp/ctrl', { verb: 'submit', request_id: randomUUID(), opening_source: opening, params })
  if (error) throw new Error(`${error.code}: ${error.message}`)
  const onRecord = ({ envelope: { payload } }) => { show(payload); if (payload.kind === 'run.finished') end() }
  await bus.subscribe(ok.topic, onRecord, { class: 'durable', from_seq: 1 })
}

async function main ([path, tokenFile, opening, params = '{}']) {
  const bus = await Bus.connect(path, { role: 'operator', token: readFileSync(tokenFile, 'utf8').trim() })
  await new Promise((end, fail) => submit(bus, readFileSync(opening, 'utf8'), JSON.parse(params), end).catch(fail))
  bus.close()
}
if (import.meta.url === pathToFileURL(process.argv[1]).href) main(process.argv.slice(2)).catch(error => { console.error(error.message); process.exit(1) })
