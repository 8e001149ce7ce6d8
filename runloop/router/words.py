"""Words of sentences: what holds them together, by language, and everyday vocabulary of requests."""

from __future__ import annotations

ARTICLES = frozenset("the an".split())
DETERMINERS = frozenset("it my your our his her some that their this these those".split())
PRONOUNS = frozenset(
    """
anyone anything everyone everything he her hers him his its me mine my myself nothing our ours she someone something their theirs
them they us we you your yours yourself
""".split()
)
POINTING = frozenset("i it this that these those there here any some each every another other both all".split())
VERBS = frozenset(
    """
am are aren't be been being can can't cannot cant could couldn't did didn't do does doesn't doesnt doing don't dont had has hasn't
have haven't having i'd i'll i'm i've im is isn't isnt it's let's may might must shall should shouldn't that's there's they're was
wasn't we're were what's whats where's who's will won't would wouldn't you're you've
""".split()
)
QUESTIONS = frozenset("what what's why how how's when where where's who who's whose whom which".split())
STRONG_LINKS = frozenset("of for about into because between without during before after since until whether".split())
LINKS = STRONG_LINKS | frozenset(
    """
about above across after against and around as because before behind below between but by during for from if inside into like near
no not of on onto or outside over per since so than then through to toward towards under until upon via whether while with within
without
""".split()
)
NAMING = frozenset("about at by for from in into of to with".split())  # names stand after these
WEAK_LINKS = frozenset("in at up out off down".split())  # also operands and options without dashes
POLITE = frozenset("please thanks thank kindly sorry pls thx cheers".split())

# Function words of other languages that are neither English nor usual operands.
FOREIGN = frozenset(
    """
aber alla alle alstublieft amanhã ao att au auch auf aux avec ayer bei bij bitte ce ces cette che chez chi comment cuál cuáles
cuándo czy cómo danke dans dass degli dei dein deine del della delle dello dem demain der dernier dernière deze diese diesen dieser dit
dlaczego domani dónde een ein eine einem einen einer eines elle elles entre era eso est esta estas este estos está están ett favore
foi fra från für gestern gibt gisteren gli gracias grazie haben hat hay het heute hier hoe hur ich ieri ik ils inte io isso ist jag
jak je jouw kannst können las les letzte letzten mañana med mein meine meinen meiner merci mes met meu mia mich mig mij mijn minha
mio mis mit moi mon morgen naar nach nel nella nicht nie niet noch non nos notre nous nuestra nuestro nächste obrigado och oder ons
ontem para perché peux por porque pour pourquoi pouvez proszę puedes puoi på qual quale quand quando que quel quelle quelles quels
quem questa questo qui quién qué sans schon sem semaine semana ses settimana seu sin sind się sobre som sono sont sua sus são ta tes
till todas tous toutes tra tu tuo tus tutte tutti uit um uma una unas und une unos uns unsere unter vad van vandaag varför
você vom von voor vos votre vous waarom wann wanneer warum welche welcher welches welke wenn wer wie wieder wij wir wird yo zum zur
zwischen à är è était última último über
af bir czego das den die gdzie hakkında hvad hvem hvor hvorfor hvornår il için jeg jest kiedy kto mig nasıl zaman om til zu
""".split()
)

FOREIGN_THANKS = frozenset("bitte danke gracias grazie merci obrigado obrigada lütfen proszę tack".split())
FOREIGN_PRONOUNS = frozenset("je tu il elle on nous vous moi toi lui leur ce".split())  # a hyphen joins them to a verb

# Small words and times that stand in sentences; a sentence may begin with them.
TIMES = frozenset(
    """
today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march april june july
august september october november december morning afternoon evening weekend week weeks month months days hours minutes o’clock
""".split()
)
AMOUNTS = frozenset("couple dozen eight few five four hundred nine seven several six ten thousand three two".split())
DESCRIBING = frozenset(
    """
best better bigger biggest broken cheap cheaper cheapest expensive faster fastest formal friendlier friendly funny important largest
longer longest missing nearest overdue polite quiet relevant shorter shortest simpler slower slowest smaller smallest strange unpaid
unread unusual upcoming urgent weird worst wrong
""".split()
)
IDIOMS = frozenset(
    ("carry on", "come on", "go ahead", "go back", "go on", "hang on", "hold on", "keep going", "start over", "try again", "next one")
)
CONVERSATION = frozenset(
    """
again agreed anyway awesome better cool correct done exactly excellent fine good great hm hmm huh later lol longer maybe much
neither never nevermind nice no nope not ok okay perfect right same shorter simpler so sounds sure too true well wow wrong yeah yep yes
""".split()
)

# Verbs that begin requests.
ASKING = frozenset(
    """
add advise agree analyse analyze announce answer apologise apologize apply approve arrange ask assess assign assist attach book
brainstorm brief bring build buy calculate call cancel categorise categorize change check choose clarify classify clean collect
combine come comment compare compile complete compose condense confirm congratulate connect consider contact continue convert
convince copy correct count create critique debug decide decline define delete deliver deploy describe design detect determine
develop diagnose discuss draft draw drop e-mail edit email emphasise encourage enumerate estimate evaluate examine expand explain
export express extend extract fetch figure fill find finish fix follow forget format forward gather generate get give go google
greet guess guide handle have help highlight identify imagine implement improve include increase inform interpret introduce invent
investigate invite join keep know learn leave let list listen locate look mail make mark measure meet memorise mention merge message
migrate monitor move name need negotiate note notify offer open order organise organize outline paraphrase pay perform phone pick
plan play polish postpone predict prepare present print prioritise prioritize produce promise proofread propose provide put quote
rank rate reach read rearrange recall recap recommend record redact reduce refactor refine reformulate refuse register rehearse
remember remind remove rename reorganise repeat rephrase replace reply report request reschedule research reserve resolve respond
restart restore retry return revert review revise reword rewrite roll run save say scan schedule search select send separate set
share shorten show simplify sketch solve sort speak specify spell split start state stop store structure study submit subscribe
suggest sum summarise summarize suppose switch take talk teach tell test thank think tidy track train transcribe transfer translate
trim try turn tweak type undo unsubscribe update upgrade upload use validate verify visit visualise visualize wait walk want warn
watch wish wonder work write
""".split()
)

# Everyday words of requests, so that a line of them is not taken for the operands of an unknown program.
COMMON = frozenset(
    """
able access account accounts action actions activity address addresses advice again agenda agent agents ago agreement alert alerts
almost alone already also always amount annual answer answers anybody api app application appointment appointments april article
articles asked attachment attachments attendees august available average away awesome back backlog backup backups bad balance bank
bbc begin beginning best better big bigger biggest bill bills birthday black blank blog blue board body books bored boss both bottom
box branch branches break breakfast broken budget bug bugs bullet bullets bus business busy bye calendar capital car card case cause
cell changed changelog changes chapter chart cheap cheaper cheapest checklist child children city class clear client clients clock
close code coffee column columns comments commit commits committed common company competitors complaint computer concise conference
config configuration contact contacts contract contracts conversation cool correct cost costs country course cover crash crashed
crashes critical current customer customers daily data database date dates day days dead deadline deadlines december decision
decisions default definition deleted delivery dentist department dependencies deployment desk detail details developer difference
different difficult dinner directory discount disk doc doctor document documents done door download downloads downtime draft drafts
driver duplicate duplicates early easy eight either else emails employee employees empty end english enough entries entry error
errors evening event events ever exactly exam example examples excel expense expenses expensive explanation export fail failed
failing fails failure failures family fast faster fastest father favorite favourite feature features february feedback few field
fields file files final finance financial fine first five flight flights floor folder folders following food forecast form formal
found four free french friday friend friendly friends full fun function functions funny game games german gift gone good goodbye
grammar great green grocery group groups growth half happen happened happening happens happy hard headline headlines health hello
help hey hi high highest hint hire history hmm holiday holidays home hotel hotels hour hours house huge huh hundred idea ideas image
images impact important inbox incident incidents income info information insurance internet interview interviews introduction
invitation invoice invoices issue issues item items itinerary january job joke july june just key keyword kids kind know language
laptop large larger largest last late latency later latest launch lead leads left lesson letter letters level library licence
license life light line lines link links list little local log login logs lol long longer longest lost lot low lowest lunch machine
mailbox main man manager many map march market marketing match math may maybe mean meaning means meeting meetings members memo
memory menu message messages metrics midnight mike milk mind minute minutes missing mistake mistakes module mom monday money month
monthly months more morning most mother movie movies much multiple music name names near need needs neither network never nevermind
new newest news newsletter next nice night nine noon nope normal note notes november now number numbers october offer office oil ok
okay old older oldest onboarding once one online only option options orders organisation original outage outline overdue overview
own page pages paper paragraph paragraphs parents part parts party password past patient payment payments pdf pdfs people perfect
performance period person phone photo photos phrase picture pictures piece place plane plans player poem point points policy polite
poor popular position possible post posts potential power presentation presentations previous price prices priorities priority
private problem problems process processes product production products professional profit progress project projects proposal pros
public purchase python quality quarter quarterly query question questions queue quick quickly quiet quite rain random raw ready real
really reason reasons receipt receipts recent recently recipe recipes red refund regarding related release releases remaining
reminder rent replies repo report reports repository requirements response responses restaurant restaurants result results resume
retrospective return revenue review reviews rid right risk risks road roadmap role room round row rows rule rules running safe
salary sales same saturday scene school screen screenshot screenshots script seats second seconds secret section security sent
sentence sentences september series server servers service services session seven several shop shopping short shorter shortest side
sign simple simpler single situation six size sizes skills slide slides slow slower slowest small smaller smallest smart social
software solution song songs soon sounds space spam spanish speech spelling spreadsheet sprint staff stage stakeholders standup
start started station status step steps still stock story straight strategy street strong structure student students stuff stupid
subject subscription subscriptions such suggestion suggestions summary summer sunday sure survey sync system table tables talk
target task tasks tax taxes tea team teams technical temperature template ten terms tests text thing things third thousand thread
three thursday ticket tickets time times tired title titles today tomorrow tone tonight too tool tools top topic topics total town
traffic train training travel trip true tuesday tweet twice two typo typos unit unread unused upcoming update updates urgent usage
user users usual vacation value values vegan vendor vendors version versions very video videos view visit visitors voice warning
warnings wat weather web website wednesday week weekend weekly weeks welcome well went what wheel white whole wife wifi wind window
winter word words worked working works world worse worst worth wow wrong yeah year yearly years yep yes yesterday yet yours youtube
zero zone
""".split()
)

GREETINGS = frozenset("hello hi hey welcome bye goodbye".split())

HOLDING = DETERMINERS | PRONOUNS | VERBS | LINKS
EVERYDAY_WORDS = AMOUNTS | ASKING | COMMON | DESCRIBING | GREETINGS | POLITE | QUESTIONS | TIMES | HOLDING
