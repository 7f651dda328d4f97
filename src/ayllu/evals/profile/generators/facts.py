"""Facts that many know: countries with their capitals, the better known first, and the chemical elements."""

from __future__ import annotations


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`a:b,c:d` as pairs."""
    parted = (pair.partition(":") for pair in text.split(","))
    return tuple((first, second) for first, _, second in parted)


CAPITALS = _pairs(
    "France:Paris,Italy:Rome,Japan:Tokyo,Germany:Berlin,Spain:Madrid,Russia:Moscow,Egypt:Cairo,China:Beijing,"
    "Greece:Athens,Portugal:Lisbon,Ireland:Dublin,Austria:Vienna,Cuba:Havana,Poland:Warsaw,Canada:Ottawa,"
    "Sweden:Stockholm,Norway:Oslo,Argentina:Buenos Aires,Peru:Lima,Kenya:Nairobi,Turkey:Ankara,Iran:Tehran,"
    "Denmark:Copenhagen,Finland:Helsinki,Hungary:Budapest,Iraq:Baghdad,Thailand:Bangkok,Vietnam:Hanoi,"
    "Brazil:Brasília,Australia:Canberra,Chile:Santiago,Ukraine:Kyiv,Romania:Bucharest,Bulgaria:Sofia,"
    "Serbia:Belgrade,Croatia:Zagreb,Jordan:Amman,Lebanon:Beirut,Nepal:Kathmandu,Ethiopia:Addis Ababa,"
    "Colombia:Bogotá,Ecuador:Quito,Uruguay:Montevideo,Paraguay:Asunción,Jamaica:Kingston,Iceland:Reykjavik,"
    "Estonia:Tallinn,Latvia:Riga,Lithuania:Vilnius,Slovenia:Ljubljana,Slovakia:Bratislava,Albania:Tirana,"
    "Ghana:Accra,Senegal:Dakar,Uganda:Kampala,Zambia:Lusaka,Zimbabwe:Harare,Angola:Luanda,Mali:Bamako,"
    "Niger:Niamey,Chad:N'Djamena,Sudan:Khartoum,Somalia:Mogadishu,Rwanda:Kigali,Gabon:Libreville,Togo:Lomé,"
    "Mongolia:Ulaanbaatar,Laos:Vientiane,Cambodia:Phnom Penh,Bangladesh:Dhaka,Bhutan:Thimphu,Oman:Muscat,"
    "Qatar:Doha,Armenia:Yerevan,Georgia:Tbilisi,Azerbaijan:Baku,Moldova:Chișinău,Belarus:Minsk,"
    "Uzbekistan:Tashkent,Kyrgyzstan:Bishkek,Tajikistan:Dushanbe,Turkmenistan:Ashgabat,Guyana:Georgetown,"
    "Suriname:Paramaribo,Belize:Belmopan,Honduras:Tegucigalpa,Nicaragua:Managua,Barbados:Bridgetown,"
    "Fiji:Suva,Samoa:Apia,Tonga:Nukuʻalofa,Vanuatu:Port Vila,Palau:Ngerulmud,Burkina Faso:Ouagadougou,"
    "Malawi:Lilongwe,Botswana:Gaborone,Namibia:Windhoek,Lesotho:Maseru,Eritrea:Asmara,Comoros:Moroni,"
    "Seychelles:Victoria,Mauritius:Port Louis,Brunei:Bandar Seri Begawan,Maldives:Malé,Djibouti:Djibouti"
)
"""Country and its capital, as the member states of the United Nations name them."""

ELEMENTS = _pairs(
    "hydrogen:H,helium:He,lithium:Li,beryllium:Be,boron:B,carbon:C,nitrogen:N,oxygen:O,fluorine:F,neon:Ne,"
    "sodium:Na,magnesium:Mg,aluminium:Al,silicon:Si,phosphorus:P,sulfur:S,chlorine:Cl,argon:Ar,potassium:K,"
    "calcium:Ca,scandium:Sc,titanium:Ti,vanadium:V,chromium:Cr,manganese:Mn,iron:Fe,cobalt:Co,nickel:Ni,"
    "copper:Cu,zinc:Zn,gallium:Ga,germanium:Ge,arsenic:As,selenium:Se,bromine:Br,krypton:Kr,rubidium:Rb,"
    "strontium:Sr,yttrium:Y,zirconium:Zr,niobium:Nb,molybdenum:Mo,technetium:Tc,ruthenium:Ru,rhodium:Rh,"
    "palladium:Pd,silver:Ag,cadmium:Cd,indium:In,tin:Sn,antimony:Sb,tellurium:Te,iodine:I,xenon:Xe,caesium:Cs,"
    "barium:Ba,lanthanum:La,cerium:Ce,praseodymium:Pr,neodymium:Nd,promethium:Pm,samarium:Sm,europium:Eu,"
    "gadolinium:Gd,terbium:Tb,dysprosium:Dy,holmium:Ho,erbium:Er,thulium:Tm,ytterbium:Yb,lutetium:Lu,"
    "hafnium:Hf,tantalum:Ta,tungsten:W,rhenium:Re,osmium:Os,iridium:Ir,platinum:Pt,gold:Au,mercury:Hg,"
    "thallium:Tl,lead:Pb,bismuth:Bi,polonium:Po,astatine:At,radon:Rn,francium:Fr,radium:Ra,actinium:Ac,"
    "thorium:Th,protactinium:Pa,uranium:U,neptunium:Np,plutonium:Pu,americium:Am,curium:Cm,berkelium:Bk,"
    "californium:Cf,einsteinium:Es,fermium:Fm,mendelevium:Md,nobelium:No,lawrencium:Lr,rutherfordium:Rf,"
    "dubnium:Db,seaborgium:Sg,bohrium:Bh,hassium:Hs,meitnerium:Mt,darmstadtium:Ds,roentgenium:Rg,"
    "copernicium:Cn,nihonium:Nh,flerovium:Fl,moscovium:Mc,livermorium:Lv,tennessine:Ts,oganesson:Og"
)
"""Name and symbol by atomic number from 1, as IUPAC's periodic table has them."""

EVERYDAY_ELEMENTS = ("oxygen", "hydrogen", "carbon", "iron", "gold", "silver", "nitrogen", "helium", "calcium", "zinc")

BLOCKS = (
    *((0x21, 0x2F), (0x3A, 0x40), (0xA1, 0xBF), (0xC0, 0xFF), (0x391, 0x3C9), (0x2190, 0x21A5), (0x2200, 0x222F)),
    *((0x100, 0x17F), (0x410, 0x44F), (0x20A0, 0x20AF), (0x2600, 0x266F), (0x5D0, 0x5EA), (0x621, 0x64A)),
    *((0x2230, 0x22FF), (0x904, 0x939), (0x250, 0x2AD), (0x2300, 0x237A), (0x531, 0x556), (0xE01, 0xE2E)),
    *((0x10D0, 0x10F5), (0x16A0, 0x16EA), (0x985, 0x9B9), (0x1200, 0x1346), (0x1780, 0x17B3), (0xF40, 0xF6A)),
    *((0x13A0, 0x13F4), (0x1401, 0x1676), (0x10400, 0x10425), (0x1D000, 0x1D0F5), (0xA000, 0xA48C)),
)
"""Ranges of code points, the better known first, one a level: from signs on every keyboard to syllables of Yi."""
