"""A small set of questions, and the passages that answer them in the same order."""

PAIRS = (
    ("Why is the sky blue?", "Air scatters short wavelengths of sunlight far more than long ones, so light from all over the sky looks blue."),
    ("Who wrote the play about the prince of Denmark?", "Hamlet was written by William Shakespeare around the year 1600."),
    ("How do plants make sugar?", "In photosynthesis, chloroplasts use light to turn water and carbon dioxide into glucose and oxygen."),
    ("What is the capital of Australia?", "Canberra, not Sydney, is the seat of the Australian government."),
    ("How many bones does an adult human have?", "The skeleton of a grown person usually consists of 206 bones."),
    ("What causes tides?", "The gravity of the Moon, and to a lesser degree of the Sun, pulls the oceans into bulges that move round the Earth."),
    ("When did the Berlin Wall fall?", "On 9 November 1989 the border crossings between East and West Berlin were opened."),
    ("What is the fastest land animal?", "A cheetah can sprint at more than 100 kilometres an hour, though only for a few hundred metres."),
    ("How is glass made?", "Sand, soda ash and limestone are melted together at about 1,500 degrees and cooled before they can crystallise."),
    ("Why do cats purr?", "Felines vibrate their larynx when they are content, and sometimes when hurt, perhaps to calm themselves."),
    ("What does a compiler do?", "It translates source code of a programming language into instructions that a machine can execute."),
    ("How do vaccines work?", "They show the immune system a harmless part of a pathogen, so that antibodies are ready when the real one comes."),
    ("Which planet has the most rings?", "Saturn is surrounded by a broad system of icy rings, the most prominent in the solar system."),
    ("What is inflation?", "A general rise of prices over time, by which a unit of money buys less than it did."),
    ("How do I boil an egg softly?", "Lower it into simmering water for six minutes, then cool it under the tap, and the yolk stays runny."),
    ("Who painted the ceiling of the Sistine Chapel?", "Michelangelo worked on the frescoes in the Vatican from 1508 to 1512."),
    ("What is the longest river of Africa?", "The Nile flows for some 6,650 kilometres through eleven countries to the Mediterranean."),
    ("Why does bread rise?", "Yeast ferments the sugars of the dough, and the gas that it gives off is held by the gluten."),
    ("How does a transformer model attend?", "Queries are compared with keys, and the softmax of their products weighs the values that are added up."),
    ("What is a black hole?", "A region of space whose gravity is so strong that nothing, not even light, can escape from it."),
    ("How many players are in a football team?", "Eleven people of each side are on the pitch during a soccer match, goalkeeper included."),
    ("What is the boiling point of water?", "At the pressure of sea level, water turns to steam at 100 degrees Celsius."),
    ("Who discovered penicillin?", "In 1928 Alexander Fleming noticed that a mould killed the bacteria in one of his dishes."),
    ("How do bees find flowers again?", "Workers that come home dance to show the others the direction of nectar and how far it is."),
    ("What does DNA stand for?", "Deoxyribonucleic acid is the molecule that carries the genetic instructions of living things."),
)  # fmt: skip
QUESTIONS = tuple(question for question, _ in PAIRS)
PASSAGES = tuple(passage for _, passage in PAIRS)


def sentences() -> list[str]:
    """200 texts of all lengths, from a word to more than models take, in several scripts."""
    others = [
        "a",
        "Zürich",
        "日本語の文です。",
        "Привет, мир!",
        "😀 emoji 👩‍👩‍👧",
        "  spaces   everywhere ",
        "x = [1, 2, 3]; print(x)",
        "ALL CAPS?!",
    ]
    joined = [f"{first} {second}" for first, second in zip(PASSAGES, PASSAGES[1:] + PASSAGES[:1], strict=True)]
    answered = [f"{question} {passage}" for question, passage in PAIRS]
    lowered = [passage.lower().replace(",", "") for passage in PASSAGES]
    parts = [" ".join(passage.split()[: 3 + n // 4]) for n, passage in enumerate(PASSAGES)]
    long = [" ".join((PASSAGES * 2)[n : n + 8 + n]) for n in range(17)]
    texts = [*QUESTIONS, *PASSAGES, *others, *joined, *answered, *lowered, *parts, *long]
    return texts + [text[::-1] for text in PASSAGES][: 200 - len(texts)]


LONG = " ".join(PASSAGES)
JUDGED = [
    *((question, passage) for question in QUESTIONS[:4] for passage in PASSAGES),
    *((question, LONG) for question in QUESTIONS[:2]),
]
