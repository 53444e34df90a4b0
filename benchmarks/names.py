"""Names of contacts: many scripts, a few common names and a long tail.

They must not contain the names that searches look for (PlantedName in dataset.py): the letter q, Maria, Hannelore,
Marisandra, Annalena and the character 龍. measure.py checks the totals.
"""

import random
from typing import NamedTuple


class Script(NamedTuple):
    """Names and country codes of one script or group of languages."""

    share: int
    country_codes: tuple[str, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    joiner: str = " "


_CHINESE = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建文玉红梅春"

SCRIPTS = (
    Script(
        22,
        ("1", "44", "61", "27", "234"),
        tuple(
            "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth Hannah Anne Nelson Eloise Andrea "
            "Sandra Joan Daniel Emily Olivia Grace Noah Liam Sophia Chidi Ngozi Thabo Marissa Annabel Helena Ronald "
            "Alexa".split()
        ),
        tuple("Smith Johnson Moore Brown Miller Davis Taylor Okafor Wilson Anderson Martin Clark Lewis".split()),
    ),
    Script(
        18,
        ("52", "34", "57", "55", "351"),
        tuple(
            "José João Lucía Sofía Andrés Iñigo Begoña Ángel Inés Raúl Mónica Sebastián Ramón Gonçalo Conceição "
            "Marina Marisa Luisa Alejandra Sandro Leandra Annabella Elena Noé Íris Fabrício".split()
        ),
        tuple("García Muñoz Peña López Núñez Gonçalves Araújo Magalhães Ibáñez Simões Fernández Assunção".split()),
    ),
    Script(
        10,
        ("49", "48", "90", "84", "33"),
        tuple(
            "Jürgen Käthe Łukasz Zoë Björn İbrahim Işıl Çağla Nguyễn Thị Ánh François Zoé Agnieszka Grażyna Hannes "
            "Annelie Leonore Loreley Günther Sören".split()
        ),
        tuple("Müller Weiß Wójcik Śliwa Öztürk Yılmaz Trần Phạm Lefèvre Göransson Schröder Kowalczyk".split()),
    ),
    Script(
        12,
        ("91", "62", "63"),
        tuple("Rahul Priya Amit Anjali Sanjay Deepa Budi Siti Dewi Agus Arjun Kavita Nisha Rohan Lakshmi".split()),
        tuple("Kumar Sharma Singh Patel Reddy Santoso Wijaya Nair Iyer Gupta Bose Santos".split()),
    ),
    Script(
        10,
        ("91",),
        tuple("राम सीता अमित प्रिया संजय दीपा अर्जुन कविता रोहन लक्ष्मी मोहन गीता विजय सुनीता".split()),
        tuple("शर्मा कुमार सिंह पटेल गुप्ता यादव वर्मा मिश्रा जोशी चौधरी".split()),
    ),
    Script(
        9,
        ("7", "380", "77"),
        tuple("Иван Мария Алексей Ольга Дмитрий Наталья Сергей Елена Фёдор Юлия Тарас Оксана Андрей Ирина".split()),
        tuple("Иванов Петрова Смирнов Кузнецова Попов Соколова Шевченко Бондаренко Ёлкин Козлов".split()),
    ),
    Script(
        9,
        ("966", "971", "20", "92"),
        tuple("مُحَمَّد أحمد فاطمة علي خديجة عمر سارة يوسف ليلى حسن مريم خالد نور إبراهيم".split()),
        tuple("العلي الحسن المصري الشامي القحطاني النجار الخطيب السيد حداد منصور".split()),
    ),
    Script(4, ("86", "852", "65"), tuple("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"), tuple(_CHINESE), joiner=""),
    Script(
        2,
        ("81",),
        tuple("さくら ゆうき カタカナ 陽菜 蓮 結衣 大翔".split()),
        tuple("佐藤 鈴木 高橋 田中 渡辺 伊藤".split()),
    ),
    Script(
        2, ("30", "972"), tuple("Γιώργος Ελένη דוד שרה Νίκος Μαρία יוסף רחל".split()), ("Παπαδόπουλος", "כהן", "לוי")
    ),
    Script(2, ("66", "82"), tuple("สมชาย ดี สุดา 민준 서연 지훈 อรุณ".split()), tuple("ใจดี 김 이 박 แสงทอง".split())),
)

_BEGINNINGS = "Ban Car Dol Fen Gar Hol Kir Lum Mor Nor Pel Ros Sal Tor Ver Wes Yar Zim Bel Cor".split()
_MIDDLES = "a e i o u ari eno ilu oba uge".split()
_ENDINGS = "cz dale ford gard holm kamp land mont nick pool rath sen ton vall wood zar".split()
_SHARES = [script.share for script in SCRIPTS]
_EMOJI = ("🌻", "✨", "⚡", "🙏", "(work)", "💫")


def choose_script(rng: random.Random) -> Script:
    return rng.choices(SCRIPTS, _SHARES)[0]


def full_name(script: Script, rng: random.Random) -> str:
    """A full name; half of the Latin last names are from the long tail."""
    first = rng.choice(script.first_names)
    if script.joiner and script.first_names[0].isascii() and rng.random() < 0.5:
        last = rng.choice(_BEGINNINGS) + rng.choice(_MIDDLES) + rng.choice(_ENDINGS)
    elif script.joiner:
        last = rng.choice(script.last_names)
    else:
        last = "".join(rng.choices(script.last_names, k=rng.choice((1, 2, 2))))
    return f"{first}{script.joiner}{last}"


def profile_name(script: Script, rng: random.Random) -> str:
    """A WhatsApp profile name: a first name, one with an emoji, or a nickname."""
    first = rng.choice(script.first_names)
    choice = rng.random()
    if choice < 0.6:
        return first
    if choice < 0.8:
        return f"{first} {rng.choice(_EMOJI)}"
    return f"{first.lower()}{rng.randrange(100)}"
