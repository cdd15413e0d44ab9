"""Word lists from which :mod:`data_tools.prompts.builtin` composes its prompts.

Each entry names a slot of the prompt templates. Phrases of one slot fit any sentence that uses the
slot, so every combination reads as English.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _phrases(text: str) -> tuple[str, ...]:
    """Splits a block of text at commas and line ends into distinct phrases, in order."""
    parts = (part.strip() for line in text.splitlines() for part in line.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _lines(text: str) -> tuple[str, ...]:
    """Splits a block of text into its distinct lines, for phrases that hold commas."""
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


VOCABULARY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "animal": _phrases("""
            a whale, a penguin, a bat, a spider, a dolphin, a frog, an eagle, a horse, a shark
            a tortoise, an owl, a bee, an octopus, a camel, a kangaroo, a wolf, a salmon
            a parrot, an elephant, a snail, a crocodile, a rabbit, a giraffe, an ant, a squirrel
            a goat, a tiger, a swan, a hedgehog, a beaver
        """),
        "animal_kind": _phrases("""
            a mammal, a bird, a reptile, a fish, an insect, a predator, larger than a cat
            able to swim, active at night, found in Europe
        """),
        "object": _phrases("""
            a bicycle, an umbrella, a candle, a compass, a kettle, a ladder, a mirror
            a notebook, a hammer, a lamp, a backpack, a telescope, a blanket, a violin, a teapot
            a wallet, an anchor, a pillow, a camera, a bucket, a clock, a guitar, a scarf
            a kite, a magnet, a basket, a drum, a key, a lantern, a spoon
        """),
        "property": _phrases("""
            heavier than a feather, made of glass, bigger than a house, used in a kitchen, sharp
            cheaper than a car, found in a school, older than the telephone, good for travelling
        """),
        "country": _phrases("""
            France, Japan, Brazil, Canada, Egypt, Germany, India, Italy, Kenya, Mexico, Norway
            Peru, Poland, Portugal, Spain, Sweden, Thailand, Turkey, Vietnam, Australia, Austria
            Chile, China, Cuba, Denmark, Finland, Greece, Hungary, Iceland, Ireland, Morocco
            Nepal, Argentina, Belgium, Bulgaria, Colombia, Jordan, Nigeria, Ukraine, Indonesia
        """),
        "country_fact": _phrases("""
            capital, currency, largest city, official language, continent, most famous mountain
        """),
        "adjective": _phrases("""
            hot, happy, tall, early, strong, brave, empty, loud, ancient, generous, smooth, bright
            careful, deep, dry, expensive, fast, gentle, heavy, honest, lazy, narrow, polite
            proud, quiet, rare, rich, rough, safe, sharp, shy, simple, sour, thick, tidy, weak
            wide, young, calm, cruel
        """),
        "noun": _phrases("""
            mouse, child, leaf, city, knife, foot, story, hero, box, wolf, tooth, party, potato
            church, shelf, baby, goose, country, bus, wife, library, echo, ox, branch, diary
        """),
        "verb": _phrases("""
            run, write, sing, begin, teach, catch, swim, bring, choose, drive, forget, grow, know
            ride, speak, throw, wear, fly, hide, keep, lose, rise, sell, think, win
        """),
        "number": tuple(str(number) for number in range(11, 60)),
        "operation": _phrases("plus, minus, times"),
        "concept": _phrases("""
            gravity, inflation, photosynthesis, democracy, a volcano, the water cycle, evolution
            an algorithm, a black hole, electricity, the internet, a vaccine, climate change
            supply and demand, a battery, the immune system, erosion, machine learning, a glacier
            magnetism, a prime number, a metaphor, a solar eclipse, biodiversity, encryption
            an earthquake, a comet, a mortgage, fermentation, friction, globalisation, a habit
            an ecosystem, interest on a loan, jet lag, a lighthouse, memory, migration, osmosis
            a parliament, plate tectonics, a rainbow, recycling, sleep, sound, the stock market
            a telescope, tides, a virus, wind power
        """),
        "subject": _phrases("""
            the sea, autumn, friendship, a busy market, mountains, music, a quiet village, coffee
            learning a language, public libraries, trains, the night sky, gardening, healthy food
            space travel, teamwork, old photographs, city parks, honesty, winter sports, bees
            electric cars, cooking at home, a rainy day, family traditions, museums, reading books
            remote work, rivers, social media, the desert, dancing, handwriting, holidays, islands
            kindness, patience, a morning walk, school uniforms, pets
        """),
        "activity": _phrases("""
            saving money, sleeping better, learning to cook, staying fit, studying for an exam
            growing tomatoes, planning a trip, making new friends, writing a letter, saving water
            speaking in public, cleaning a kitchen, training a puppy, moving house, reading more
            riding a bicycle to work, running a meeting, buying a used car, taking good photographs
            keeping a diary, learning the piano, working from home, reducing waste, hiking safely
            organising a party
        """),
        "category": _phrases("""
            fruits, vegetables, musical instruments, rivers, planets, European countries, sports
            wild animals, kitchen tools, kinds of trees, programming languages, famous painters
            professions, hobbies, breakfast foods, board games, types of weather, means of transport
            birds, flowers, spices, school subjects, kinds of shoes, famous scientists, desserts
            ocean animals, parts of a car, types of bread, rooms in a house, winter clothes
        """),
        "thing_to_make": _phrases("""
            a cup of tea, pancakes, a paper aeroplane, vegetable soup, a bird house, a fruit salad
            an omelette, a budget, a birthday card, a snowman, a sandwich, a simple website
            a compost heap, fresh pasta, a bookshelf
        """),
        "sentence": _lines("""
            The cat sleeps on the sofa.
            We are going to the market tomorrow.
            My brother works in a large hospital.
            The train to the city leaves at noon.
            I would like a glass of water.
            She reads a book every evening.
            The children are playing in the garden.
            It rains a lot in the winter.
            Where is the nearest railway station?
            He forgot his keys at the office.
            The soup is too hot to eat.
            They bought a small house near the lake.
            Our teacher tells very good stories.
            I have lost my umbrella again.
            The museum is closed on Mondays.
            Can you help me with this suitcase?
            The bread in this shop is excellent.
            My grandmother lives in the mountains.
            We will meet in front of the theatre.
            The doctor gives the patient some medicine.
            He plays the guitar with his friends.
            The river is very deep at this place.
            Please close the window before you leave.
            She drinks coffee without sugar.
            The old bridge crosses the valley.
            I do not understand this question.
            Two birds are singing in the tree.
            The farmer sells apples and pears.
            This film is longer than the book.
            They walk to school every morning.
        """),
        "language": _phrases("French, Spanish, German, Italian, Portuguese"),
        "rewriting": _phrases("""
            in the past tense, in the future tense, as a question, in a more formal style
            in fewer words, in the negative, with different words
        """),
        "review": _lines("""
            The food was cold and the waiter ignored us all evening.
            What a wonderful film, I laughed from beginning to end!
            The room was clean and the staff were very friendly.
            My new phone stopped working after two days.
            This is the best book I have read this year.
            The delivery was late and the box was damaged.
            I love these shoes, they fit perfectly.
            The concert was boring and far too expensive.
            Great value for money, I will come again.
            The instructions were confusing and two screws were missing.
            Our guide was patient and told us many interesting stories.
            The battery hardly lasts an hour.
            The coffee here is excellent and the cakes are even better.
            I waited forty minutes on the phone and nobody helped me.
            The garden was beautiful and the children did not want to leave.
            The jacket lost its colour in the first wash.
            A quiet hotel with a lovely view of the lake.
            The lecture was dull and the hall was freezing.
            Easy to use and it looks good on my desk.
            The seats were dirty and the train was late again.
            The soup was delicious and the owner greeted us at the door.
            The printer jams on every second page.
            A warm coat at a fair price, exactly as described.
            The guide book is out of date and the maps are wrong.
            My children adore this game and play it every day.
            The shower leaked and nobody came to repair it.
            Fast delivery and a handwritten note in the parcel.
            The plot made no sense and the ending was silly.
            The teacher explains everything clearly and with humour.
            The screen was scratched when I opened the box.
            A peaceful park with old trees and clean paths.
            The cake was dry and far too sweet.
            This app saves me an hour every week.
            They charged me twice and never answered my letters.
            The new sofa is comfortable and was easy to assemble.
        """),
        "review_label": _lines("""
            Is this review positive or negative? Answer with one word.
            Classify the sentiment of the review as positive or negative. Reply with the label only.
            Does the customer sound happy or unhappy? One word, please.
            Was the customer satisfied? Answer yes or no.
            Would this customer recommend it to a friend? Answer yes or no.
        """),
        "opening": _lines("""
            The town council has decided to close the old swimming pool at the end of the summer.
            A group of students has built a small robot that collects rubbish on the beach.
            The national railway will run night trains between the two capitals from next spring.
            Farmers in the valley have had the driest spring for forty years.
            The city library will stay open until midnight during the examination weeks.
            A local bakery has won the prize for the best bread in the country.
            The new bridge over the river was opened by the mayor on Saturday.
            Scientists have found a colony of rare butterflies near the airport.
            The hospital is looking for volunteers who read to patients in the evening.
            The school has replaced its printed books with tablets in all classes.
            A storm damaged more than two hundred houses along the coast on Tuesday night.
            The football club has sold its stadium to a company from abroad.
            The museum is showing letters of a painter that were lost for a century.
            Two young engineers have started a company that repairs old computers.
            The village has built a wind turbine that belongs to all its inhabitants.
        """),
        "detail": _lines("""
            The project costs about three million and is paid for by the state.
            Many residents are pleased, but some fear more noise and traffic.
            It took almost two years from the first idea to the final decision.
            More than five hundred people came to see it on the first day.
            Experts say that the effect will only be known in a few years.
            A survey shows that two thirds of the people support the plan.
            The local newspaper was the first to report on the matter.
            Similar attempts in neighbouring towns have failed for lack of money.
            Families with small children are especially interested in it.
            The weather made the work much harder than expected.
        """),
        "closing": _lines("""
            The next meeting on the subject will take place in October.
            The organisers hope that other towns will follow the example.
            Nobody knows yet what will happen to the old building.
            Anyone who wants to help can write to the town hall.
            The responsible minister did not want to comment.
            A final report is expected before the end of the year.
            Schools have already asked for guided tours.
            For the time being, everything stays as it is.
            The costs will be checked again in the winter.
            A party for all helpers is planned for next week.
        """),
        "function": _lines("""
            returns the sum of a list of numbers
            checks whether a word is a palindrome
            returns the largest of three numbers
            counts the vowels in a string
            converts Celsius to Fahrenheit
            computes the factorial of n
            returns the n-th Fibonacci number
            removes duplicates from a list
            tests whether a number is prime
            reverses the words of a sentence
            merges two sorted lists
            counts how often each word occurs in a text
            finds the second largest value in a list
            computes the average of a list
            checks whether two strings are anagrams
            computes the greatest common divisor of two integers
            formats a number of seconds as hours, minutes and seconds
            flattens a list of lists
            returns the length of the longest word
            sorts a list of pairs by the second element
        """),
        "code_language": _phrases("Python, JavaScript"),
        "code_style": _lines("""
            Give only the code.
            Keep it short and explain it in one sentence.
            Add a short comment to each line.
        """),
        "occasion": _lines("""
            thanks a colleague for her help
            invites a friend to dinner
            asks the landlord to repair the heating
            cancels an appointment with the dentist
            congratulates a cousin on her new job
            apologises for a late delivery
            asks a teacher for more time
            reminds the team of the meeting on Friday
            reports a lost suitcase to the airline
            asks a neighbour to water the plants
            announces a day off
            complains about a wrong bill
            thanks the grandparents for a present
            asks the library for a longer loan
            welcomes a new member of the choir
            offers to lend a tent to a friend
            tells the neighbours about a party
            confirms a table for four on Sunday
            wishes a colleague a quick recovery
            asks a friend to feed the cat
        """),
        "recipient_tone": _phrases("polite, friendly, formal, cheerful"),
        "pair": _lines("""
            a cat and a dog
            tea and coffee
            a lake and a river
            a comet and an asteroid
            a train and a tram
            weather and climate
            a novel and a short story
            a hotel and a hostel
            butter and margarine
            a frog and a toad
            a law and a rule
            a hobby and a job
            rain and snow
            a violin and a cello
            a moth and a butterfly
            saving and investing
        """),
        "character": _phrases("""
            a lost key, an old sailor, a curious fox, two sisters, a clumsy robot, a shy baker
            a talking tree, a young astronaut, a stubborn donkey, a forgotten painting
            a night watchman, a small dragon
        """),
        "place": _phrases("""
            in a lighthouse, on a train, in a snowy town, at a school, on the moon, in a library
            on a small island, in a busy kitchen
        """),
        "debate": _phrases("""
            school uniforms, free public transport, homework, zoos, working four days a week
            mobile phones in class, nuclear power, advertising to children, living in a big city
            online shopping, keeping pets in flats, tourism
        """),
    }
)
